import assert from 'node:assert/strict'
import test from 'node:test'
import type { SlotSpec } from '#contract'
import { requestOf } from './request.ts'

const MIB = 2 ** 20

test('the compute plane is asked for what the spec says, in its units', () => {
  const workload = {
    name: 'web',
    image: 'web',
    flist: 'a'.repeat(64),
    memory: 64,
    cpus: 500,
    disk: 48,
    user: 'web',
    workdir: '/srv',
    entrypoint: ['sh', '-c'],
    args: ['true'],
    env: { A: '1' },
    secrets: { B: '2' },
    restart: 'on-failure:3',
    volumes: [
      { name: 'data', path: '/data', size: 32, readonly: true },
      { name: 'old', path: '/old', size: 1, readonly: false },
    ],
  }
  const { digest, request } = requestOf('0xd1', 2, { workload } as unknown as SlotSpec)
  const { volumes, ...rest } = request
  assert.deepEqual([digest, rest.entrypoint, rest.command], ['a'.repeat(64), 'sh', ['-c', 'true']])
  assert.deepEqual([rest.user, rest.workdir, rest.hostname], ['web', '/srv', 'web-2'])
  assert.deepEqual([rest.env, rest.restart], [['A=1', 'B=2'], { name: 'on-failure', max: 3 }])
  assert.deepEqual([rest.memory, rest.cpus, rest.disk], [64 * MIB, 0.5, 48 * MIB])
  const asked = volumes.map((v) => [v.target, v.readOnly, v.size])
  assert.deepEqual(asked, [
    ['/data', true, 32 * MIB],
    ['/old', false, 16 * MIB],
  ])
  assert.ok(volumes.every((v) => v.source.includes('.')))
  const bare = { ...workload, disk: undefined, volumes: undefined }
  assert.equal(requestOf('0xd1', 0, { workload: bare } as unknown as SlotSpec).request.disk, 1024 * MIB)
})

const asked = (health: object | undefined) => {
  const workload = { name: 'web', image: 'web', flist: 'a'.repeat(64), memory: 64, cpus: 500, health }
  return requestOf('0xd1', 0, { workload } as unknown as SlotSpec).request
}

test("a spec's health check is asked of the compute plane; without one the image's holds", () => {
  const times = { interval: 10, timeout: 5, retries: 4 }
  const said = { interval: 10_000, timeout: 5000, retries: 4 }
  assert.deepEqual(asked({ http: ':80/ok', ...times }).health, { probe: { http: ':80/ok' }, ...said })
  assert.deepEqual(asked({ tcp: 80, start: 60, ...times }).health, { probe: { tcp: 80 }, ...said, startPeriod: 60_000 })
  assert.deepEqual(asked({ command: ['test', '-e', '/up'], ...times }).health, {
    probe: { argv: ['test', '-e', '/up'] },
    ...said,
  })
  assert.deepEqual(asked({ command: ['test -e /up'], ...times }).health, {
    probe: { argv: ['/bin/sh', '-c', 'test -e /up'] },
    ...said,
  })
  assert.equal('health' in asked(undefined), false)
  assert.equal(asked(undefined).ignoreImageVolumes, true)
})
