import assert from 'node:assert/strict'
import test from 'node:test'
import { restartDelay } from './restart.ts'

const ending = { exitCode: 1, byHand: false, ran: 50, restarts: 0 }

test('policies restart as Docker does', () => {
  assert.equal(restartDelay({ name: 'no' }, ending), undefined)
  assert.equal(restartDelay({ name: 'on-failure' }, { ...ending, exitCode: 0 }), undefined)
  assert.equal(restartDelay({ name: 'always' }, { ...ending, exitCode: 0 }), 100)
  assert.equal(restartDelay({ name: 'unless-stopped' }, { ...ending, byHand: true }), undefined)
  assert.equal(restartDelay({ name: 'on-failure', max: 3 }, { ...ending, restarts: 2 }), 400)
  assert.equal(restartDelay({ name: 'on-failure', max: 3 }, { ...ending, restarts: 3 }), undefined)
})

test('the delay doubles to a minute and starts anew after a healthy run', () => {
  assert.equal(restartDelay({ name: 'always' }, { ...ending, restarts: 30 }), 60_000)
  assert.equal(restartDelay({ name: 'always' }, { ...ending, restarts: 30, ran: 11_000 }), 100)
})
