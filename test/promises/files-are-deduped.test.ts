import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, dockerArchive, filesBelow, startNode } from '../harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())

const stored = () => filesBelow(node.hub).reduce((n, f) => n + statSync(f).size, 0)
const blob = randomBytes(2_000_000)
const tree = busyboxTree(join(node.work, 'tree'), { 'data/blob': blob, 'data/copy': blob })

test('two files of one content are stored once', () => {
  node.ok(['publish', `dir:${tree}`, 'one'], { timeout: 300 })
  assert.ok(stored() < 2 * blob.length, `${stored()} bytes for two copies of ${blob.length} incompressible ones`)
})

test('the same files from an archive cost no chunk of theirs again', () => {
  const before = stored()
  node.ok(['publish', dockerArchive(join(node.work, 'a.tar'), tree), 'two'], { timeout: 300 })
  assert.ok(stored() - before < 100_000, `${stored() - before} bytes more for files that were there`)
})

test('a changed byte costs its chunk, not its file', () => {
  const before = stored()
  const changed = Buffer.from(blob)
  changed[1_000_000]! ^= 1
  writeFileSync(join(tree, 'data/blob'), changed)
  node.ok(['publish', `dir:${tree}`, 'three'], { timeout: 300 })
  const grown = stored() - before
  assert.ok(grown > 0 && grown < 250_000, `${grown} bytes more for one changed byte`)
})

test('with no hub named, nothing is stored twice', () => {
  const env = { ZOS_HUB: '', ZOS_HOME: join(node.work, 'alone') }
  assert.equal(node.zos(['publish', `dir:${tree}`, 'one'], { env, timeout: 300 }).code, 0)
  const once = filesBelow(join(node.work, 'alone')).reduce((n, f) => n + statSync(f).size, 0)
  assert.ok(once < stored() * 1.1, `${once} bytes alone, ${stored()} in the hub of three`)
  node.zos(['down'], { env })
})
