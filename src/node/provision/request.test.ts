import assert from 'node:assert/strict'
import test from 'node:test'
import type { SlotSpec } from '#contract'
import { requestOf } from './request.ts'

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
    ...{ probe: { argv: ['test', '-e', '/up'] }, ...said },
  })
  assert.deepEqual(asked({ command: ['test -e /up'], ...times }).health, {
    ...{ probe: { argv: ['/bin/sh', '-c', 'test -e /up'] }, ...said },
  })
  assert.equal('health' in asked(undefined), false)
  assert.equal(asked(undefined).ignoreImageVolumes, true)
})
