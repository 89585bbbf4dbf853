import assert from 'node:assert/strict'
import test from 'node:test'
import type { WorkloadView } from '#wire'
import { rowOf } from './ps.ts'

const reason = `Start "web": ${'its program is not there, '.repeat(6)}`
const view = (more: Partial<WorkloadView>): WorkloadView => ({
  id: 'ab'.repeat(32),
  name: 'web',
  image: 'box',
  state: 'exited',
  exitCode: 127,
  reason,
  pid: null,
  restarts: 0,
  createdAt: new Date().toISOString(),
  startedAt: new Date().toISOString(),
  finishedAt: null,
  command: 'x'.repeat(99),
  ports: ['127.0.0.1:80->80'],
  labels: {},
  memory: 0,
  health: null,
  ...more,
})

test('what does not run has no ports, and the reason does not widen the table unless all of it is asked for', () => {
  const [id, , , state, ports, command] = rowOf(view({}), false) as [string, string, string, string, string, string]
  assert.equal(ports, '')
  assert.match(state, /^exited \(127\) 0 s ago: Start "web": its .*…$/)
  assert.ok(state.length < 70, state)
  assert.deepEqual([id.length, command.length], [12, 40])
  assert.ok(rowOf(view({}), true)[3]!.endsWith(reason))
  assert.equal(rowOf(view({ state: 'running' }), false)[4], '127.0.0.1:80->80')
})
