import assert from 'node:assert/strict'
import test from 'node:test'
import { chunkIdOf, isZero, LEAF_BLOCK, leafHashes, wholeBlocks, zeroLeaf } from '#cas'
import { sha256 } from '#codec'

test('leaves hash each block zero-padded, and the id hashes the leaves', () => {
  const bytes = Buffer.alloc(LEAF_BLOCK + 5, 7)
  const padded = wholeBlocks(bytes)
  assert.equal(padded.length, 2 * LEAF_BLOCK)
  const leaves = leafHashes(bytes)
  assert.deepEqual(leaves, leafHashes(padded))
  assert.deepEqual(leaves.subarray(32), sha256(padded.subarray(LEAF_BLOCK)))
  assert.deepEqual(chunkIdOf(leaves), sha256(leaves))
  assert.equal(leafHashes(Buffer.alloc(0)).length, 0)
})

test('the leaf of a hole is the published hash of 4 KiB of zeros', () => {
  // as `head -c 4096 /dev/zero | sha256sum` prints it
  assert.equal(zeroLeaf.toString('hex'), 'ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7')
})

test('zero means every byte, also in a short last block', () => {
  assert.ok(isZero(Buffer.alloc(3 * LEAF_BLOCK + 1)))
  for (const at of [0, 1, LEAF_BLOCK - 1, LEAF_BLOCK, 3 * LEAF_BLOCK]) {
    const bytes = Buffer.alloc(3 * LEAF_BLOCK + 1)
    bytes[at] = 1
    assert.equal(isZero(bytes), false, `byte ${at}`)
  }
})
