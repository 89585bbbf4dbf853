import assert from 'node:assert/strict'
import { mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { privateKeyToAccount } from 'viem/accounts'
import { ZosError } from '#codec'
import { sleep } from '#sys'
import { openEmbeddedChain } from './embedded.ts'
import { Journal } from './journal.ts'
import { decodeBlock, decodeGenesis, encodeBlock, encodeGenesis } from './record.ts'
import { Store } from './store.ts'

async function frames(path: string, from = 0): Promise<string[]> {
  await using journal = await Journal.open(path)
  const found: string[] = []
  for await (const f of journal.recover(from)) found.push(f.payload.toString())
  return found
}

test('a journal cut at any byte keeps its whole frames and drops the torn one', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-journal-'))
  try {
    const path = join(dir, 'j')
    const ends = [0]
    {
      await using journal = await Journal.open(path)
      for await (const _ of journal.recover(0)) assert.fail('a new journal has no frames')
      for (const p of ['first', 'second!', 'x'.repeat(40)]) {
        await journal.append(Buffer.from(p))
        ends.push(journal.end)
      }
    }
    const whole = await readFile(path)
    for (let cut = 0; cut <= whole.length; cut++) {
      await writeFile(path, whole.subarray(0, cut))
      const kept = ends.filter((e) => e > 0 && e <= cut).length
      assert.equal((await frames(path)).length, kept, `cut at ${cut}`)
      assert.equal((await stat(path)).size, ends[kept])
    }
    // space that was given but never written reads as zeros
    await writeFile(path, Buffer.concat([whole, Buffer.alloc(100)]))
    assert.equal((await frames(path)).length, 3)
    // the last frame half written at its full length
    const half = Buffer.from(whole)
    half.fill(0, whole.length - 20)
    await writeFile(path, half)
    assert.equal((await frames(path)).length, 2)
    // damage in the middle is no torn tail: refused, not cut away
    for (let i = 8; i < ends[1]!; i++) {
      const bad = Buffer.from(whole)
      bad[i]! ^= 1
      await writeFile(path, bad)
      await assert.rejects(frames(path), { code: 'journal-damaged' })
    }
    await writeFile(path, whole)
    await truncate(path, ends[1])
    await assert.rejects(frames(path, ends[2]), { code: 'journal-short' })
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('records: what is written is read, and each truncation is refused', () => {
  const genesis = { chainId: 26426, timestamp: 1_800_000_000 }
  assert.deepEqual(decodeGenesis(encodeGenesis(genesis)), genesis)
  const block = {
    number: 7,
    timestamp: 1_800_000_001,
    parent: Buffer.alloc(32, 9),
    transactions: [Buffer.from('ab'), Buffer.alloc(300, 1)],
  }
  const bytes = Buffer.from(encodeBlock(block))
  assert.deepEqual(decodeBlock(bytes), block)
  for (let i = 0; i < bytes.length; i++) assert.throws(() => decodeBlock(bytes.subarray(0, i)), ZosError)
  assert.throws(() => decodeBlock(Buffer.concat([bytes, Buffer.alloc(1)])), ZosError)
  for (let i = 0; i < 500; i++) {
    const bad = Buffer.from(bytes)
    bad[Math.floor(Math.random() * bad.length)] = Math.floor(Math.random() * 256)
    try {
      decodeBlock(bad)
    } catch (error) {
      assert.ok(error instanceof ZosError)
    }
  }
})

test('no answer, and no new head, before the disk has it; what the disk refuses is not taken, and can be sent again', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-fsync-'))
  try {
    await using engine = await openEmbeddedChain({ dir })
    const raw = await privateKeyToAccount(`0x${'42'.repeat(32)}`).signTransaction({
      type: 'eip1559',
      chainId: engine.chainId,
      nonce: 0,
      gas: 100_000n,
      data: '0x00',
      maxFeePerGas: 0n,
      maxPriorityFeePerGas: 0n,
    })
    const send = () => engine.request({ method: 'eth_sendRawTransaction', params: [raw] })
    const heads = async () => [
      (await engine.finalized()).number,
      Number(await engine.request({ method: 'eth_blockNumber', params: [] })),
    ]
    await using probe = await open(join(dir, 'probe'), 'w')
    const disk = t.mock.method(Object.getPrototypeOf(probe), 'datasync')
    disk.mock.mockImplementationOnce(() => Promise.reject(new Error('the disk is full')))
    await assert.rejects(send(), /the disk is full/)
    assert.deepEqual(await heads(), [0, 0])

    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    disk.mock.mockImplementationOnce(() => {
      reached.resolve()
      return gate.promise
    })
    let answered = false
    const sent = send().then(() => {
      answered = true
    })
    await reached.promise
    await sleep(50)
    assert.deepEqual([answered, ...(await heads())], [false, 0, 0])
    gate.resolve()
    await sent
    assert.deepEqual(await heads(), [1, 1])
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('what a full disk keeps from the state is said, and nothing of it stays', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-store-'))
  try {
    using store = new Store(join(dir, 'state.db'))
    const { page_count } = store.db.prepare('PRAGMA page_count').get() as { page_count: number }
    store.db.exec(`PRAGMA max_page_count = ${page_count + 1}`)
    const put = (size: number) => () => {
      store.setMeta('swept', 7)
      store.putNode(Buffer.from('key'), Buffer.alloc(size), 1)
    }
    assert.throws(() => store.transaction(put(1 << 16)), /database or disk is full/)
    assert.equal(store.meta('swept'), undefined)
    store.transaction(put(1))
    assert.equal(store.meta('swept'), 7)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
