import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ChunkId, collect, openStore, recompress, startWorkers, usage } from '#cas'

const root = mkdtempSync(join(tmpdir(), 'zos-recompress-'))
const workers = startWorkers(1)
after(async () => {
  await workers.close()
  rmSync(root, { recursive: true })
})

/** Bytes of a chunk: the level at rest takes 60 times as long as that of a publish. */
const SIZE = 20_000

/** Text that level 19 does better on than level 3. */
const prose = (seed: number, size: number): Buffer => {
  let words = ''
  for (let n = seed; words.length < size; n = (n * 48271) % 2147483647)
    words += `${(n % 997).toString(36)} the ${n % 13} `
  return Buffer.from(words.slice(0, size))
}

let count = 0
/** A store with NUMBER chunks, the last of which no compression helps. */
async function filled(number: number) {
  const store = openStore({ dir: join(root, String(count++), 'cas'), workers })
  const ids: ChunkId[] = []
  for (let n = 1; n < number; n++) ids.push((await store.put(prose(n, SIZE + n))).id)
  ids.push((await store.put(randomBytes(20_000))).id)
  const file = (id: ChunkId) => join(store.dir, id.toString('hex').slice(0, 2), id.toString('hex').slice(2))
  return { store, ids, file }
}

test('objects get smaller under the ids they have, once; what is damaged is left to a scrub', async () => {
  const { store, ids, file } = await filled(6)
  const plain = await Promise.all(ids.map((id) => store.get(id)))
  const damaged = await store.put(prose(99, 50_000))
  const bytes = readFileSync(file(damaged.id))
  bytes[bytes.length >> 1]! ^= 1
  writeFileSync(file(damaged.id), bytes)
  const manifest = await store.putBlob(prose(7, 90_000))

  const before = (await usage(store.local)).bytes
  const first = await recompress(store.local)
  assert.deepEqual([first.looked, first.rewritten], [8, 7])
  assert.equal((await usage(store.local)).bytes, before - (first.before - first.after))
  assert.ok(first.after < first.before * 0.95, `${first.before} to ${first.after}`)
  assert.deepEqual(await Promise.all(ids.map((id) => store.get(id))), plain)
  assert.deepEqual(await store.getBlob(manifest.id), prose(7, 90_000))
  assert.deepEqual(readFileSync(file(damaged.id)), bytes)
  assert.deepEqual((await recompress(store.local)).rewritten, 0)
  assert.equal((await store.put(prose(1, SIZE + 1))).storedBytes, 0, 'it is found under its id')
})

test('a store whose folder for half-written files is not there gets smaller all the same', async () => {
  const { store } = await filled(3)
  rmSync(join(store.dir, '../tmp'), { recursive: true })
  assert.equal((await recompress(store.local)).rewritten, 3)
})

test('readers, a collection and claims at the same time: every read is whole, what is claimed stays', async () => {
  const { store, ids, file } = await filled(30)
  for (const id of ids) utimesSync(file(id), 1e9, 1e9)
  let running = true
  let reads = 0
  const readers = Array.from({ length: 3 }, async () => {
    while (running) {
      for (const id of ids.slice(0, 10)) await store.get(id) // throws unless it is whole
      reads++
      // who compresses yields to everybody, and readers without a pause would let it have nothing
      await sleep(5)
    }
  })
  const live = ids.slice(0, 10).map((id) => id.toString('hex'))
  const claims = async () => {
    for (let n = 10; n < 20; n++) assert.equal((await store.put(prose(n + 1, SIZE + 1 + n))).storedBytes, 0)
  }
  const [done] = await Promise.all([
    recompress(store.local),
    claims().then(() => collect(store, live, { grace: 60_000 })),
  ])
  running = false
  await Promise.all(readers)
  assert.ok(done.rewritten >= 20 && reads > 0)
  for (const id of ids.slice(0, 20)) await store.get(id)
})

test('killed at any moment, every object is whole', async () => {
  const { store, ids } = await filled(12)
  const program = join(root, 'program.ts')
  writeFileSync(
    program,
    `import { openStore, recompress } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))}
    const store = openStore({ dir: ${JSON.stringify(store.dir)}, workers: 1 })
    await recompress(store.local, { onProgress: ({ looked }) => console.log(looked) })`,
  )
  for (let round = 1; round <= 4; round++) {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    let looked = 0
    for await (const text of child.stdout.setEncoding('utf8')) {
      looked = Math.max(looked, ...String(text).trim().split('\n').map(Number))
      if (looked >= round * 2) break
    }
    child.kill('SIGKILL')
    await ended
    assert.ok(looked >= round * 2)
    for (const id of ids) await store.get(id)
  }
  await recompress(store.local)
  for (const id of ids)
    assert.ok(statSync(join(store.dir, id.toString('hex').slice(0, 2), id.toString('hex').slice(2))).size > 0)
  assert.equal((await recompress(store.local)).rewritten, 0)
})
