import assert from 'node:assert/strict'
import test from 'node:test'
import { PHASE } from '#contract'
import { holderOf, rivalsOf } from './claim.ts'

const slot = { index: 3, primary: 1, standby: 2 }
const said = (node: number, phase: number, sequence = 5) => ({ slot: node === 2 ? 131 : 3, node, sequence, phase })
const { running, stopped } = PHASE

test('the last of the two that said it runs, under the step that counts, holds the slot', () => {
  assert.equal(holderOf(slot, [], 5), 1, 'the primary before anyone spoke')
  assert.equal(holderOf(slot, [said(1, running), said(2, running)], 5), 2)
  assert.equal(holderOf(slot, [said(2, running), said(1, running)], 5), 1)
  assert.equal(holderOf(slot, [said(1, running), said(2, running), said(1, stopped)], 5), 2)
  assert.equal(holderOf(slot, [said(2, running, 4)], 5), 1, 'a claim dies with its step')
  assert.equal(holderOf(slot, [said(7, running)], 5), 1, 'and one of a node that is neither never counts')
})

test('whoever ran it may run it still, until it says under this step that it stopped', () => {
  assert.deepEqual(rivalsOf(slot, 1, [], 5), [])
  assert.deepEqual(rivalsOf(slot, 1, [said(1, running)], 5), [])
  assert.deepEqual(rivalsOf(slot, 1, [said(2, running, 4)], 5), [2])
  assert.deepEqual(rivalsOf(slot, 1, [said(2, running, 4), said(2, stopped, 4)], 5), [2])
  assert.deepEqual(rivalsOf(slot, 1, [said(2, running, 4), said(2, stopped)], 5), [])
  assert.deepEqual(rivalsOf(slot, 1, [said(8, running, 2), said(2, running, 4)], 5), [8, 2], 'also where it was before')
})
