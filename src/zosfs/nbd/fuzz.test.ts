import assert from 'node:assert/strict'
import test from 'node:test'
import { ZosError } from '#codec'
import { noise } from '../disk/fixture.ts'
import { FUZZ_RUNS, mutate } from '../disk/mutate.ts'
import { handshake } from './handshake.ts'
import { requestParser } from './request.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const option = (number: number, data: Buffer) => {
  const head = Buffer.alloc(16)
  head.write('IHAVEOPT')
  head.writeUInt32BE(number, 8)
  head.writeUInt32BE(data.length, 12)
  return Buffer.concat([head, data])
}
/** What QEMU, libnbd and an old client say. */
const HELLOS = [
  Buffer.concat([
    hex('00000003'),
    option(8, Buffer.alloc(0)),
    option(10, Buffer.concat([hex('00000000 00000001 0000000f'), Buffer.from('base:allocation')])),
    option(7, hex('00000000 0001 0003')),
  ]),
  Buffer.concat([
    hex('00000003'),
    option(5, Buffer.alloc(0)),
    option(3, Buffer.alloc(0)),
    option(9, hex('00000000 00000000')),
    option(6, Buffer.concat([hex('00000004'), Buffer.from('vm-1'), hex('0000')])),
    option(2, Buffer.alloc(0)),
  ]),
  Buffer.concat([hex('00000001'), option(1, Buffer.from('vm-1'))]),
]

async function negotiate(bytes: Buffer): Promise<unknown> {
  let at = 0
  let sent = 0
  const wire = {
    async take(n: number) {
      if (at + n > bytes.length) throw new ZosError('left', { code: 'nbd-handshake' })
      at += n
      return bytes.subarray(at - n, at)
    },
    send: (out: Buffer) => {
      sent += out.length
    },
  }
  try {
    return await handshake(wire, 'vm-1', 2 ** 40)
  } catch (error) {
    assert.equal((error as ZosError).code, 'nbd-handshake', String((error as Error).stack))
    return error
  } finally {
    assert.ok(sent < 64 << 10)
  }
}

test('the handshake takes every valid opening and ends every other in an orderly way', async () => {
  assert.deepEqual(await negotiate(HELLOS[0]!), { structured: true, allocation: true })
  assert.equal(await negotiate(HELLOS[1]!), undefined)
  assert.deepEqual(await negotiate(HELLOS[2]!), { structured: false, allocation: false })
  for (const hello of HELLOS) {
    for (let cut = 0; cut < hello.length; cut++) {
      assert.ok((await negotiate(hello.subarray(0, cut))) instanceof ZosError, `cut at ${cut}`)
    }
  }
  for (let seed = 1; seed <= FUZZ_RUNS; seed++) await negotiate(mutate(HELLOS[seed % HELLOS.length]!, seed))
})

test('requests come out the same however the stream is cut, and garbage is refused', () => {
  const valid = Buffer.concat([
    hex('25609513 0000 0000 0000000000000001 0000000000001000 00002000'),
    hex('25609513 0000 0001 0000000000000002 0000000000000000 00000005'),
    Buffer.from('hello'),
    hex('25609513 0004 0000 0000000000000003 ffffffffffffffff 00000001'),
  ])
  const parse = (pieces: Buffer[]) => {
    const seen: bigint[] = []
    const parser = requestParser(
      () => true,
      ({ cookie, offset, length, type }) => {
        assert.ok(Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && length < 2 ** 32 && type < 65536)
        seen.push(cookie)
      },
    )
    for (const piece of pieces) parser.push(piece)
    return seen
  }
  for (let cut = 0; cut <= valid.length; cut++) {
    assert.deepEqual(parse([valid.subarray(0, cut), valid.subarray(cut)]), [1n, 2n, 3n])
  }
  for (let seed = 1; seed <= FUZZ_RUNS; seed++) {
    const bytes = mutate(valid, seed)
    const cut = noise(4, seed).readUInt16LE(0) % (bytes.length + 1)
    try {
      parse([bytes.subarray(0, cut), bytes.subarray(cut)])
    } catch (error) {
      assert.equal((error as ZosError).code, 'nbd-request', String((error as Error).stack))
    }
  }
})
