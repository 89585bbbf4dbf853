import assert from 'node:assert/strict'
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, filesBelow, startNode } from '../harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())

const tree = busyboxTree(join(node.work, 'site'), { 'www/index.html': 'first\n' })
const show = () => node.ok(['run', '--rm', 'site', 'cat', '/www/index.html'], { timeout: 300 }).text

test('a folder runs as it is: change a file, publish, run; only what changed moves', () => {
  node.ok(['publish', tree, 'site'], { timeout: 300 })
  assert.equal(show(), 'first\n')
  const before = new Set(filesBelow(node.hub))
  writeFileSync(join(tree, 'www/index.html'), 'second\n')
  node.ok(['publish', tree, 'site'])
  assert.equal(show(), 'second\n')
  const fresh = filesBelow(node.hub).filter((f) => !before.has(f))
  const bytes = fresh.reduce((n, f) => n + statSync(f).size, 0)
  assert.ok(bytes < 200_000, `${bytes} bytes moved for one small file`)
})

test('no tar and no layer exists anywhere', () => {
  node.ok(['down']) // what a removed workload leaves is cleared in the background
  for (const file of [...filesBelow(node.hub), ...filesBelow(node.home)]) assert.doesNotMatch(file, /\.tar|layer/)
})
