import assert from 'node:assert/strict'
import test from 'node:test'
import type { DeploymentView, SlotView } from './deployment_status.ts'
import { notRunning } from './forward.ts'

const said = (state: SlotView['state'], reason = '', deployment: DeploymentView['state'] = 'running'): string => {
  const slot: SlotView = { slot: 0, node: 'n', farm: 'f', country: 'BE', version: 1, state, reason, since: null }
  return notRunning({ name: 'app', version: 1, state: deployment, slots: [slot] }, 0).message
}

test('a slot that does not run is named as people name it, with its state, the reason and what to do', () => {
  assert.match(
    said('failed', 'no such program'),
    /^Forward to "app\/0": it is failed, not running: no such program; "zos status app" .*"zos deploy"/,
  )
  assert.match(said('reserved', 'wait'), /it is reserved, not running: wait; "zos status app" shows when it runs$/)
  assert.match(said('running'), /its node does not run it now.*"zos status app"/)
  assert.match(said('running', '', 'frozen'), /it is frozen .*"zos thaw app"/)
  assert.match(said('released', '', 'cancelled'), /its deployment is cancelled; "zos status app"/)
})
