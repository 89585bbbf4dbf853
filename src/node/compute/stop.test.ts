import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sleep } from '#sys'
import type { WorkloadSpec } from './spec.ts'
import { restartLater, start } from './start.ts'
import { halt, stop } from './stop.ts'
import { FRESH } from './store.ts'
import { announce, openWorkload, type Surroundings, save, view } from './workload.ts'

/** One that ends in the moment it is to be stopped, its end being written to a disk that takes its time. */
function ending(home: string, signal: (end: () => void) => void) {
  const at = { home, machines: { pidOf: () => null }, log: () => {} } as unknown as Surroundings
  const spec = {
    id: 'a1',
    name: 'web',
    argv: ['sh'],
    ports: [],
    stopTimeout: 0,
    stopSignal: 'TERM',
  } as unknown as WorkloadSpec
  const workload = openWorkload(at, spec, { ...FRESH, state: 'running' })
  const end = () => {
    workload.status = { ...workload.status, state: 'exited', exitCode: 0, reason: 'exit code 0' }
    setTimeout(() => announce(workload), 50)
  }
  workload.agent = { signal: async () => signal(end) } as unknown as NonNullable<typeof workload.agent>
  return workload
}

test('one that ends by itself while it is being stopped has been stopped', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-stop-'))
  try {
    const ends = ending(home, (end) => end())
    await stop(ends)
    assert.equal(ends.status.state, 'exited')
    const gone = ending(home, (end) => {
      end()
      throw new Error('its line was closed')
    })
    await stop(gone)
    const silent = ending(home, () => {
      throw new Error('its line was closed')
    })
    await assert.rejects(stop(silent), /its line was closed/)
  } finally {
    await sleep(60)
    rmSync(home, { recursive: true })
  }
})

test('one that waits to start again says so, until it is stopped', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-stop-'))
  try {
    const workload = ending(home, () => {})
    await save(workload, { state: 'exited', exitCode: 3, reason: 'exit code 3' })
    restartLater(workload, 60_000)
    assert.equal(view(workload).reason, 'exit code 3; starts again by its policy')
    await stop(workload)
    assert.equal(view(workload).reason, 'exit code 3')
  } finally {
    rmSync(home, { recursive: true })
  }
})

test('one that was being started when the node went down says that, and not where its start broke off', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-stop-'))
  try {
    const machine = Promise.withResolvers<never>()
    const at = {
      home,
      machines: { get: () => machine.promise, end: async () => {} },
      volumes: { acquire: async () => [], release: () => {} },
      cards: { unplug: () => {} },
      log: () => {},
    } as unknown as Surroundings
    const spec = { id: 'a1', name: 'web', argv: ['sh'], ports: [], volumes: [] } as unknown as WorkloadSpec
    const workload = openWorkload(at, spec, FRESH)
    const started = start(workload, () => {})
    await halt(workload)
    machine.reject(new Error('Talk to the agent: the connection to the VM is closed'))
    await assert.rejects(started, /Talk to the agent/)
    assert.deepEqual([workload.status.state, workload.status.reason], ['exited', 'the node went down'])
  } finally {
    rmSync(home, { recursive: true })
  }
})
