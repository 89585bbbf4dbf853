import assert from 'node:assert/strict'
import test from 'node:test'
import type { WorkloadSpec } from './spec.ts'
import { FRESH } from './store.ts'
import { agentOf, openWorkload, type Surroundings } from './workload.ts'

test('who wants to reach a workload that has ended is told how to start it', () => {
  const ended = openWorkload({} as Surroundings, { name: 'web' } as WorkloadSpec, { ...FRESH, state: 'exited' })
  assert.throws(() => agentOf(ended), {
    code: 'not-running',
    message: 'Reach workload "web": it is exited, not running; "zos start web" starts it',
  })
})
