import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { RunRequest } from '#wire'
import { openCards } from './cards.ts'
import { Engine } from './engine.ts'
import type { Machine } from './parts.ts'
import { resolveSpec } from './spec.ts'
import { FRESH, loadWorkloads, saveSpec, saveStatus } from './store.ts'
import { Volumes } from './volumes.ts'

const request: RunRequest = {
  ...{ image: 'box', command: ['true'], env: [], tty: false, interactive: false, detach: true, remove: false },
  ...{ init: false, readOnly: false, volumes: [], tmpfs: [], ports: [], restart: { name: 'no' } },
}

/** A home with one workload that a daemon was killed over, and what became of its machine. */
async function recovered(change: Partial<RunRequest>, record: unknown = { its: 'record' }) {
  const home = mkdtempSync(join(tmpdir(), 'zos-adopt-'))
  try {
    const image = { digest: '0'.repeat(64), config: {} }
    const spec = resolveSpec({ ...request, ...change }, image, { id: 'a1', name: 'half', createdAt: '2026-01-01' })
    await saveSpec(home, spec)
    await saveStatus(home, spec, { ...FRESH, machine: record })
    let destroyed = 0
    const adopt = async (record: unknown) => {
      assert.deepEqual(record, { its: 'record' })
      return machine
    }
    const machine = { destroy: async () => void destroyed++ } as Partial<Machine> as Machine
    const unused = () => assert.fail('nothing else is asked of the machines or the storage plane')
    const engine = new Engine({
      home,
      machines: { get: unused, adopt, refill: unused },
      storage: { image: unused, bind: unused, check: unused, ready: unused },
      volumes: new Volumes(home),
      cards: openCards(home),
      log: assert.fail,
    })
    await engine.recover()
    return { destroyed, views: engine.views(), onDisk: loadWorkloads(home) }
  } finally {
    rmSync(home, { recursive: true })
  }
}

test('a workload whose daemon was killed while it started: its machine ends, its status says why', async () => {
  const { destroyed, views, onDisk } = await recovered({})
  assert.equal(destroyed, 1)
  assert.deepEqual([views[0]!.state, views[0]!.exitCode], ['exited', 125])
  assert.match(views[0]!.reason, /daemon ended while it was being started/)
  assert.equal(onDisk[0]!.status.machine, null)
})

test('one that was to be removed after its end is gone with its machine', async () => {
  const { destroyed, views, onDisk } = await recovered({ remove: true })
  assert.deepEqual([destroyed, views, onDisk], [1, [], []])
  assert.deepEqual((await recovered({ remove: true }, null)).onDisk, [], 'nor one that had no machine yet')
  assert.equal((await recovered({}, null)).views[0]!.state, 'created')
})
