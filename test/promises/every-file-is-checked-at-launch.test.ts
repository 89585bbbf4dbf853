import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { closeSync, cpSync, openSync, readFileSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, filesBelow, sha256, startNode } from '../harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())

const blob = randomBytes(3_000_001)
const tree = busyboxTree(join(node.work, 'tree'), { 'data/blob': blob })

/** Flips one bit in the middle of each file of at least LEAST bytes. */
function flip(dir: string, least = 64): number {
  const files = filesBelow(dir).filter((f) => statSync(f).size >= least)
  for (const file of files) {
    const fd = openSync(file, 'r+')
    const byte = Buffer.alloc(1)
    const at = Math.floor(statSync(file).size / 2)
    readSync(fd, byte, 0, 1, at)
    byte[0]! ^= 0x10
    writeSync(fd, byte, 0, 1, at)
    closeSync(fd)
  }
  return files.length
}

const cat = () => node.zos(['run', '--rm', 'web', 'cat', '/data/blob'], { timeout: 300 })

test('whole chunks: the bytes are right', () => {
  node.ok(['publish', `dir:${tree}`, 'web'], { timeout: 300 })
  assert.equal(sha256(cat().out), sha256(blob))
  node.ok(['flist', 'verify', 'web'])
})

test('the whole cache gone: nothing was in it that the hub has not', () => {
  const names = () => node.json<{ name: string; digest: string }[]>(['images', '--json'])
  const before = names()
  node.ok(['down'])
  rmSync(join(node.home, 'cas'), { recursive: true })
  assert.equal(sha256(cat().out), sha256(blob))
  assert.deepEqual(names(), before)
})

test('every cached chunk flipped, hub good: healed byte for byte', () => {
  node.ok(['down'])
  const cas = join(node.home, 'cas')
  const good = new Map(filesBelow(cas).map((f) => [f, sha256(readFileSync(f))]))
  assert.ok(flip(cas) > 20)
  assert.equal(sha256(cat().out), sha256(blob))
  node.ok(['down'])
  const healed = [...good].filter(([f, digest]) => sha256(readFileSync(f)) === digest)
  assert.ok(healed.length >= 20, `${healed.length} of ${good.size} healed`)
})

test('hub flipped too: the start is refused, naming the file and both digests; mended, it runs again', () => {
  node.ok(['down'])
  flip(join(node.home, 'cas'))
  cpSync(node.hub, `${node.hub}.good`, { recursive: true })
  assert.ok(flip(node.hub, 16384) > 0)
  const refused = cat()
  assert.notEqual(refused.code, 0)
  assert.ok(
    refused.out.length === 0 || blob.subarray(0, refused.out.length).equals(refused.out),
    'wrong bytes came through',
  )
  assert.match(refused.err, /bin\/busybox/)
  assert.ok((refused.err.match(/[0-9a-f]{12}/g) ?? []).length >= 2, refused.err)
  rmSync(node.hub, { recursive: true })
  cpSync(`${node.hub}.good`, node.hub, { recursive: true })
  assert.equal(sha256(cat().out), sha256(blob))
})

test('a flipped byte that nothing needs to start is an error at most, never wrong data', () => {
  node.ok(['down'])
  // chunks of the blob are the only ones that hold its random bytes: flip all raw ones of 128 KiB in both places
  for (const dir of [join(node.home, 'cas'), node.hub]) {
    const raw = filesBelow(dir).filter((f) => statSync(f).size > 131072 && statSync(f).size < 131300)
    assert.ok(raw.length > 10)
    const fd = openSync(raw[3]!, 'r+')
    writeSync(fd, Buffer.from([1, 2, 3]), 0, 3, 70_000)
    closeSync(fd)
  }
  const said = cat()
  assert.ok(said.code !== 0, 'a changed byte went unnoticed')
  assert.ok(blob.subarray(0, said.out.length).equals(said.out), 'wrong bytes came through')
})
