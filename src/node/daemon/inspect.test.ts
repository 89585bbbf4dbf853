import assert from 'node:assert/strict'
import test from 'node:test'
import type { RunRequest } from '#wire'
import { requestOf } from '../compute/request.fixture.ts'
import { resolveSpec } from '../compute/spec.ts'
import { declaredOf } from './inspect.ts'

const config = {
  config: {
    Entrypoint: ['/app'],
    Cmd: ['serve'],
    ExposedPorts: { '80/tcp': {}, '53/udp': {} },
    Volumes: { '/data': {} },
  },
}
const specOf = (more: Partial<RunRequest>) =>
  resolveSpec(
    requestOf({ command: [], ...more }),
    { digest: '0'.repeat(64), config },
    { id: 'a', name: 'n', createdAt: '' },
  )

test('inspect tells entrypoint from command, and what the image and the flags expose and have as volumes', () => {
  assert.deepEqual(declaredOf(specOf({})), {
    Entrypoint: ['/app'],
    Cmd: ['serve'],
    ExposedPorts: { '80/tcp': {}, '53/udp': {} },
    Volumes: { '/data': {} },
  })
  const asked = specOf({
    entrypoint: '/sh',
    ports: [{ address: '127.0.0.1', host: 8080, guest: 8000 }],
    volumes: [
      { source: '', target: '/own', readOnly: false },
      { source: 'named', target: '/kept', readOnly: false },
    ],
  })
  assert.deepEqual(declaredOf(asked), {
    Entrypoint: ['/sh'],
    Cmd: null,
    ExposedPorts: { '80/tcp': {}, '53/udp': {}, '8000/tcp': {} },
    Volumes: { '/data': {}, '/own': {} },
  })
  const { declared: _, ...older } = asked
  assert.deepEqual(declaredOf(older).Cmd, ['/sh'])
})
