import assert from 'node:assert/strict'
import test from 'node:test'
import { ByteReader, ByteWriter, canonicalJson, sha256Hex } from '#codec'

test('what ByteWriter writes, ByteReader reads', () => {
  const w = new ByteWriter(1)
  w.u8(255)
    .u16(65535)
    .u32(0xffffffff)
    .u64(2n ** 64n - 1n)
    .i64(-1n)
  for (const n of [0, 127, 128, 300, 2 ** 32, Number.MAX_SAFE_INTEGER]) w.varint(n)
  w.blob(Buffer.from('abc'))
  const r = new ByteReader(w.done(), 'test')
  assert.equal(r.u8(), 255)
  assert.equal(r.u16(), 65535)
  assert.equal(r.u32(), 0xffffffff)
  assert.equal(r.u64(), 2n ** 64n - 1n)
  assert.equal(r.i64(), -1n)
  for (const n of [0, 127, 128, 300, 2 ** 32, Number.MAX_SAFE_INTEGER]) assert.equal(r.varint(), n)
  assert.equal(r.blob().toString(), 'abc')
  r.end()
})

test('reading past the end, long varints and rests are refused with the place', () => {
  assert.throws(() => new ByteReader(Buffer.from([1]), 'x').u16(), /Decode x at byte 0: 2 bytes wanted, 1 left/)
  assert.throws(() => new ByteReader(Buffer.from([0x80, 0]), 'x').varint(), /shortest/)
  assert.throws(() => new ByteReader(Buffer.alloc(9, 0xff), 'x').varint(), /varint/)
  assert.throws(() => new ByteReader(Buffer.from([5, 1]), 'x').blob(4), /limit 4/)
  assert.throws(() => new ByteReader(Buffer.from([5]), 'x').end(), /1 bytes too many/)
})

test('canonical JSON sorts keys and refuses what JSON lacks', () => {
  assert.equal(
    canonicalJson({ b: [1, 1.5, 'ü'], a: { d: null, c: true }, z: undefined }),
    '{"a":{"c":true,"d":null},"b":[1,1.5,"ü"]}',
  )
  // RFC 8785, sections 3.2.2 to 3.2.4
  const literals = String.raw`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`
  assert.equal(
    canonicalJson(JSON.parse(literals)),
    String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
  )
  const order = ['\r', '1', '\u0080', '\u00f6', '\u20ac', '\ud83d\ude00', '\ufb33']
  const mixed = Object.fromEntries(
    order.toSorted((a, b) => b.length - a.length || (a < b ? 1 : -1)).map((key) => [key, 0]),
  )
  assert.deepEqual(Object.keys(JSON.parse(canonicalJson(mixed))).sort(), order.toSorted())
  assert.equal(canonicalJson(mixed), `{${order.map((key) => `${JSON.stringify(key)}:0`).join(',')}}`)
  assert.throws(() => canonicalJson({ a: Number.NaN }), /not a JSON number/)
  assert.throws(() => canonicalJson(1n), /bigint/)
})

test('sha256 of parts is that of their concatenation', () => {
  assert.equal(sha256Hex(Buffer.from('a'), Buffer.from('bc')), sha256Hex(Buffer.from('abc')))
  assert.equal(sha256Hex(Buffer.from('abc')), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
})
