import assert from 'node:assert/strict'
import test from 'node:test'
import { LINK_MTU } from '#mycelium'
import { CARD_MTU } from '#vm'

test('a machine is told at its start what its link says when it is asked', () => {
  assert.deepEqual({ tap: CARD_MTU.tap, socket: CARD_MTU.stream }, LINK_MTU)
})
