import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import test from 'node:test'
import {
  decodeJson,
  encodeCredit,
  encodeFrame,
  encodeJson,
  encodeU64,
  FILLER,
  Frame,
  getU32,
  getU64,
  MAGIC,
  MAX_PAYLOAD,
  NONCE,
  parseFrames,
  type Step,
} from './protocol.ts'

const RUNS = Number(process.env.ZOS_FUZZ ?? 3000)

type Seen = { type: number; stream: number; payload: Buffer }

const hello = (nonce = randomBytes(NONCE)) =>
  encodeFrame(Frame.hello, 0, Buffer.concat([MAGIC, nonce, Buffer.from([1, 0, 0, 0]), Buffer.alloc(8)]))

/** As guest and host read: chunk by chunk, what is not used up stays in front. */
function read(chunks: Uint8Array[], marker: Uint8Array | null = null) {
  const seen: Seen[] = []
  const step: Step = { marker }
  let lost = 0
  let held = Buffer.alloc(0)
  for (const chunk of chunks) {
    held = Buffer.concat([held, chunk])
    const used = parseFrames(
      step,
      held,
      0,
      held.length,
      (type, stream, payload) => seen.push({ type, stream, payload: Buffer.from(payload) }),
      () => {
        lost++
        return MAGIC
      },
    )
    assert.ok(used >= 0 && used <= held.length)
    held = held.subarray(used)
    assert.ok(held.length < FILLER, 'the reader hoards')
  }
  return { seen, lost, left: held }
}

const sample = [
  encodeFrame(Frame.data, 7, randomBytes(1000)),
  encodeJson(Frame.request, 0xffffffff, { method: 'stats', params: null }),
  encodeFrame(Frame.end, 1, new Uint8Array(0)),
  encodeCredit(3, 2 ** 32 - 1),
  encodeU64(Frame.ack, 0, 2 ** 53 - 1),
  encodeFrame(Frame.data, 9, randomBytes(MAX_PAYLOAD)),
]

test('frames come back as they were, however they are cut', () => {
  const whole = read([Buffer.concat(sample)])
  assert.equal(whole.seen.length, sample.length)
  assert.equal(whole.left.length, 0)
  assert.equal(whole.lost, 0)
  assert.deepEqual(decodeJson(whole.seen[1]!.payload), { method: 'stats', params: null })
  assert.equal(whole.seen[1]!.stream, 0xffffffff)
  assert.equal(getU32(whole.seen[3]!.payload, 0), 2 ** 32 - 1)
  assert.equal(getU64(whole.seen[4]!.payload, 0), 2 ** 53 - 1)
  const small = Buffer.concat(sample.slice(0, 5))
  for (let at = 0; at <= small.length; at++) {
    assert.deepEqual(read([small.subarray(0, at), small.subarray(at)]).seen, whole.seen.slice(0, 5))
  }
  assert.deepEqual(read([...small].map((byte) => Uint8Array.of(byte))).seen, whole.seen.slice(0, 5))
})

test('a truncated stream gives only the whole frames before the cut', () => {
  const bytes = Buffer.concat(sample.slice(0, 5))
  const ends = sample.slice(0, 5).map((_, i) => Buffer.concat(sample.slice(0, i + 1)).length)
  for (let at = 0; at < bytes.length; at++) {
    assert.equal(read([bytes.subarray(0, at)]).seen.length, ends.filter((end) => end <= at).length)
  }
})

test('a host that dies at any byte leaves nothing behind for its successor', () => {
  const cutHere = Buffer.concat([sample[1]!, sample[0]!, encodeFrame(Frame.data, 0, Buffer.alloc(2000, 0x41))])
  const ends = [sample[1]!.length, sample[1]!.length + sample[0]!.length]
  const next = hello()
  for (let at = 0; at < cutHere.length; at++) {
    const { seen } = read([Buffer.concat([cutHere.subarray(0, at), Buffer.alloc(FILLER), next, sample[1]!])])
    const whole = ends.filter((end) => end <= at).length
    // what was whole, the hello, and the request behind it: no frame filled up with zeros
    assert.equal(seen.length, whole + 2, `cut at ${at}`)
    assert.equal(seen[whole]!.type, Frame.hello)
    assert.deepEqual(seen[whole + 1]!.payload, Buffer.from(sample[1]!.subarray(8, -4)))
  }
})

test('a new host finds its own acknowledgement behind whatever was under way', () => {
  const nonce = randomBytes(NONCE)
  const ack = encodeFrame(Frame.helloAck, 0, Buffer.concat([nonce, Buffer.from('{"version":1}')]))
  for (const before of [Buffer.alloc(0), sample[5]!.subarray(0, 30_000), randomBytes(5000), sample[0]!]) {
    const { seen } = read([Buffer.concat([before, ack, sample[2]!])], nonce)
    assert.deepEqual(
      seen.map((s) => s.type),
      [Frame.helloAck, Frame.end],
    )
  }
})

test('whatever bytes come, the reader stays bounded and finds the next hello', () => {
  const valid = Buffer.concat([...sample.slice(0, 5), hello()])
  for (let n = 0; n < RUNS; n++) {
    const bytes = Buffer.from(n % 3 === 0 ? randomBytes(200) : valid)
    for (let k = randomInt(1, 6); k > 0; k--) bytes[randomInt(bytes.length)] = randomInt(256)
    const end = hello()
    const { seen } = read([bytes.subarray(0, randomInt(bytes.length)), Buffer.alloc(FILLER), end])
    assert.equal(seen.at(-1)?.type, Frame.hello)
  }
})
