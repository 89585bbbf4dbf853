import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RunRequest } from '#wire'
import { requestOf } from './request.fixture.ts'
import { type ImageConfig, resolveSpec } from './spec.ts'

const specOf = (more: Partial<RunRequest>, config: ImageConfig['config'] = {}) =>
  resolveSpec(requestOf(more), { digest: '0'.repeat(64), config: { config } }, { id: 'a', name: 'n', createdAt: '' })
const volume = (source: string, target: string) => ({ source, target, readOnly: false })

test('a volume is one disk of a machine, and mounts do not hide each other or the image', () => {
  const bad: [Partial<RunRequest>, RegExp][] = [
    [{ volumes: [volume('data', '/a'), volume('data', '/b')] }, /volume "data" is to be mounted twice/],
    [{ volumes: [volume('a', '/d'), volume('b', '/x/../d/')] }, /two mounts are to be at "\/d"/],
    [{ volumes: [volume('a', '/d')], tmpfs: [{ target: '/d/', options: '' }] }, /two mounts are to be at "\/d"/],
    [{ volumes: [volume('a', '/')] }, /"\/" is the image itself/],
    [{ tmpfs: [{ target: '//.', options: '' }] }, /"\/" is the image itself/],
  ]
  for (const [more, message] of bad) assert.throws(() => specOf(more), { code: 'bad-mounts', message })
  const own = specOf({ volumes: [volume('', '/a'), volume('', '/b'), volume('data', '/a/c')] }).volumes
  assert.equal(new Set(own.map((v) => v.source)).size, 3)
})

test('mounts are at the folder that a path with ".." or more slashes leads to', () => {
  const { volumes, tmpfs } = specOf(
    { volumes: [volume('data', '/m/../n//o/')], tmpfs: [{ target: '/../t/.', options: '' }] },
    { Volumes: { '/d': {}, '/d/': {}, '/n/o/': {} } },
  )
  assert.deepEqual([volumes.map((v) => v.target), tmpfs[0]!.target], [['/n/o', '/d'], '/t'])
})

test("an image's stop signal that is empty or unknown is none, as with Docker", () => {
  for (const StopSignal of ['', 'NOPE', '65']) assert.equal(specOf({}, { StopSignal }).stopSignal, 'SIGTERM')
  assert.equal(specOf({}, { StopSignal: '3' }).stopSignal, '3')
})

test("an empty --user is the image's user, not root", () => {
  assert.equal(specOf({ user: '' }, { User: 'web' }).user, 'web')
  assert.equal(specOf({ user: '0' }, { User: 'web' }).user, '0')
})

test('less memory than any program needs, more disk than a machine has, a signal there is not: refused', () => {
  assert.throws(() => specOf({ disk: 2 ** 40 + 1 }), { code: 'bad-disk' })
  assert.throws(() => specOf({ memory: (6 << 20) - 1 }), { code: 'bad-memory', message: /at least 6m/ })
  assert.equal(specOf({ memory: 6 << 20 }).memory, 6 << 20)
  assert.throws(() => specOf({ stopSignal: 'NOPE' }), {
    code: 'bad-signal',
    message: /"NOPE": there is no such signal/,
  })
  for (const stopSignal of ['TERM', 'SIGQUIT', '9', 'RTMIN+3'])
    assert.equal(specOf({ stopSignal }).stopSignal, stopSignal)
})
