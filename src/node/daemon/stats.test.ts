import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Engine } from '../compute/engine.ts'
import { statsOf } from './stats.ts'

const figures = { memory: 9, inactiveFile: 2, memoryPeak: 9, cpuUsec: 5e6, pids: 1, upperUsed: 0 }
/** One that runs; LOOKS: how often it answers before it ends. */
const workload = (name: string, looks: number) => ({
  spec: { id: name, name, memory: 64 },
  status: { state: 'running', reason: '' },
  agent: { stats: async () => (looks-- > 0 ? figures : Promise.reject(new Error(`${name} has ended`))) },
})

test('of all that run, one that ends meanwhile is left out; one that is named says why there is nothing', async () => {
  const all = [workload('stays', 9), workload('ends', 1)]
  const engine = { list: () => all, find: (name: string) => all.find((w) => w.spec.name === name) } as unknown as Engine
  assert.deepEqual(
    (await statsOf(engine, [])).map((s) => [s.name, s.memory.current, s.cpu.seconds]),
    [['stays', 7, 5]],
  )
  await assert.rejects(statsOf(engine, ['ends']), /ends has ended/)
})
