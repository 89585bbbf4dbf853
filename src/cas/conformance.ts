// What every ChunkBackend must do; its test file calls this with a maker of empty ones.
import assert from 'node:assert/strict'
import test from 'node:test'
import { sha256Hex } from '#codec'
import type { ChunkBackend, Stored } from './backend.ts'

type Made = {
  backend: ChunkBackend
  /** Makes the place unreachable. */
  takeAway: () => Promise<void>
}

async function all(list: AsyncIterable<Stored>): Promise<Stored[]> {
  const found: Stored[] = []
  for await (const item of list) found.push(item)
  return found
}

/** TORN: this place may be seen while it writes (only a stand-in for a service that promises otherwise may). */
export function backendConformance(name: string, make: () => Promise<Made>, options: { torn?: boolean } = {}): void {
  const one = Buffer.from('one')
  const id = sha256Hex(one)
  const other = sha256Hex(Buffer.from('other'))

  test(`${name}: keeps, replaces, lists and deletes`, async () => {
    const { backend } = await make()
    await backend.put(id, one)
    assert.deepEqual(await backend.get(id), one)
    assert.equal(await backend.get(other), undefined)
    assert.deepEqual([await backend.has(id), await backend.has(other)], [true, false])
    await backend.put(id, Buffer.from('two, longer'))
    assert.deepEqual(await backend.get(id), Buffer.from('two, longer'))
    await backend.flush()
    const listed = await all(backend.list())
    assert.deepEqual(
      listed.map(({ id, bytes }) => [id, bytes]),
      [[id, 11]],
    )
    assert.ok(Math.abs(listed[0]!.mtime - Date.now()) < 60_000)
    assert.deepEqual([await backend.delete(id), await backend.has(id)], [true, false])
    await backend.put(other, one) // a place left without a single object may count as gone
    assert.equal(await backend.delete(id), false)
  })

  test(`${name}: a touch spares from deleteOlder, age does not`, async () => {
    const { backend } = await make()
    await backend.put(other, one)
    await backend.put(id, one)
    const before = Date.now() + 50
    assert.equal(await backend.deleteOlder(id, Date.now() - 60_000), false)
    assert.equal(await backend.has(id), true)
    await new Promise((done) => setTimeout(done, 100))
    assert.equal(await backend.touch(id), true)
    assert.equal(await backend.touch(sha256Hex()), false)
    assert.equal(await backend.deleteOlder(id, before), false)
    assert.deepEqual(await backend.get(id), one)
    assert.equal(await backend.deleteOlder(other, before), true)
    assert.equal(await backend.has(other), false)
  })

  test(`${name}: an object being replaced is whole to every reader`, { skip: options.torn ?? false }, async () => {
    const { backend } = await make()
    const forms = [Buffer.alloc(200_000, 1), Buffer.alloc(300_000, 2)]
    await backend.put(id, forms[0]!)
    let writing = true
    const writer = (async () => {
      for (let n = 0; n < 40; n++) await backend.put(id, forms[n % 2]!)
      writing = false
    })()
    while (writing) {
      const got = (await backend.get(id))!
      assert.ok(forms.some((form) => form.equals(got)))
    }
    await writer
  })

  test(`${name}: out of reach is source-away, never absence`, async () => {
    const { backend, takeAway } = await make()
    await backend.put(id, one)
    await takeAway()
    for (const act of [() => backend.get(id), () => backend.has(id), () => all(backend.list())])
      await assert.rejects(act(), { code: 'source-away' })
  })
}
