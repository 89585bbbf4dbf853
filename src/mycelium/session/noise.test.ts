import assert from 'node:assert/strict'
import { createCipheriv, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { keyPairOf, newKeyPair } from '../identity.ts'
import { INNER_HEADER, SEAL_OVERHEAD } from '../wire/seal.ts'
import { Keypair, NOT_AUTHENTIC, REPLAYED } from './keypair.ts'
import { initiate, readInitiation } from './noise.ts'
import { createReplayWindow } from './replay-window.ts'

type Vector = {
  init_prologue: string
  init_static: string
  init_ephemeral: string
  init_remote_static: string
  resp_static: string
  resp_ephemeral: string
  handshake_hash?: string
  messages: { payload: string; ciphertext: string }[]
}

const vectors: Vector[] = JSON.parse(readFileSync(new URL('../vectors/noise-ik.json', import.meta.url), 'utf8'))
const hex = (text: string) => Buffer.from(text, 'hex')

/** The transport of the vectors has no inner header: plain AES-GCM under the split keys. */
function seal(key: Buffer, counter: number, plain: Buffer): string {
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32BE(counter, 8)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('hex')
}

test('the published vectors of Noise_IK_25519_AESGCM_SHA256 (cacophony, snow)', () => {
  assert.equal(vectors.length, 2)
  for (const v of vectors) {
    const [one, two, ...transport] = v.messages
    const prologue = hex(v.init_prologue)
    const remote = hex(v.init_remote_static)
    const begun = initiate(keyPairOf(hex(v.init_static)), remote, prologue, hex(one!.payload), hex(v.init_ephemeral))!
    assert.equal(begun.message.toString('hex'), one!.ciphertext)
    const invited = readInitiation(keyPairOf(hex(v.resp_static)), begun.message, prologue)!
    assert.equal(invited.payload.toString('hex'), one!.payload)
    assert.deepEqual(invited.remote, keyPairOf(hex(v.init_static)).publicKey)
    const answer = invited.answer(hex(two!.payload), hex(v.resp_ephemeral))!
    assert.equal(answer.message.toString('hex'), two!.ciphertext)
    const done = begun.finish(answer.message)!
    assert.equal(done.payload.toString('hex'), two!.payload)
    if (v.handshake_hash) assert.equal(done.hash.toString('hex'), v.handshake_hash)
    assert.deepEqual(done.hash, answer.hash)
    assert.deepEqual([done.keys.send, done.keys.receive], [answer.keys.receive, answer.keys.send])
    for (const [i, { payload, ciphertext }] of transport.entries()) {
      const key = i % 2 === 0 ? done.keys.send : answer.keys.send
      assert.equal(seal(key, i >> 1, hex(payload)), ciphertext)
    }
  }
})

test('a message tampered with, cut short, or for or by another is refused', () => {
  const [me, you, other] = [newKeyPair(), newKeyPair(), newKeyPair()]
  const prologue = Buffer.from('test')
  const begun = initiate(me, you.publicKey, prologue, Buffer.from('hello'))!
  for (let at = 0; at < begun.message.length; at++) {
    const bad = Buffer.from(begun.message)
    bad[at]! ^= 1
    // an X25519 key whose highest bit differs is the same key, but the hash of the handshake is not
    assert.equal(readInitiation(you, bad, prologue), undefined, `byte ${at}`)
    assert.equal(readInitiation(you, begun.message.subarray(0, at), prologue), undefined)
  }
  assert.equal(readInitiation(other, begun.message, prologue), undefined)
  assert.equal(readInitiation(you, begun.message, Buffer.from('else')), undefined)
  assert.equal(initiate(me, Buffer.alloc(32), prologue, Buffer.alloc(0)), undefined, 'a key of small order')
  const { message } = readInitiation(you, begun.message, prologue)!.answer(Buffer.alloc(0))!
  const later = initiate(me, you.publicKey, prologue, Buffer.from('hello'))!
  assert.equal(later.finish(message), undefined, 'an answer to another initiation')
  const bad = Buffer.from(message)
  bad[40]! ^= 1
  assert.equal(begun.finish(bad), undefined)
})

test('the replay window takes each counter once, in any order within it', () => {
  const window = createReplayWindow()
  const take = (counter: number) => {
    const fresh = window.isFresh(counter)
    if (fresh) window.accept(counter)
    return fresh
  }
  const seen = new Set<number>()
  let highest = -1
  let state = 7
  for (let i = 0; i < 60_000; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    const jump = state % 997 === 0 ? 20_000 : state % 5
    const counter = Math.max(0, highest + jump - (state % 3 === 0 ? state % 9_000 : 0))
    const expected = counter > highest || (highest - counter < 8192 - 32 && !seen.has(counter))
    assert.equal(take(counter), expected, `${counter} with ${highest} the highest`)
    if (expected) seen.add(counter)
    highest = Math.max(highest, counter)
  }
  assert.ok(take(2 ** 40 - 1) && !take(2 ** 40 - 1) && !take(highest))
})

function pair(now = 0): [Keypair, Keypair] {
  const [a, b] = [randomBytes(32), randomBytes(32)]
  const copy = (key: Buffer) => Buffer.from(key)
  return [
    new Keypair({ send: copy(a), receive: copy(b) }, { local: 7, remote: 9, weInitiated: true, now }),
    new Keypair({ send: copy(b), receive: copy(a) }, { local: 9, remote: 7, weInitiated: false, now }),
  ]
}

test('what one end seals the other opens once; tampering at any byte, replay and the wrong end are refused', () => {
  using stack = new DisposableStack()
  const [a, b] = pair()
  stack.use(a)
  stack.use(b)
  const payload = randomBytes(100)
  const sealed = Buffer.alloc(payload.length + SEAL_OVERHEAD)
  const input = Buffer.concat([Buffer.alloc(INNER_HEADER), payload])
  const out = Buffer.alloc(200)
  a.seal(0, input, INNER_HEADER, payload.length, sealed, 0)
  // the index only says which keys to try
  for (let at = 0; at < sealed.length; at++) {
    if (at >= sealed.length - 12 && at < sealed.length - 8) continue
    const bad = Buffer.from(sealed)
    bad[at]! ^= 0x80
    assert.equal(b.open(bad, 0, bad.length, out, 0), NOT_AUTHENTIC, `byte ${at}`)
  }
  assert.equal(b.open(sealed, 0, sealed.length, out, 0), payload.length)
  assert.deepEqual(out.subarray(INNER_HEADER, INNER_HEADER + payload.length), payload)
  assert.equal(b.open(sealed, 0, sealed.length, out, 0), REPLAYED)
  assert.equal(a.open(sealed, 0, sealed.length, out, 0), NOT_AUTHENTIC)
  assert.equal(a.openOwn(sealed, out, 0), payload.length)
  for (let length = 0; length < 40; length++) assert.equal(b.open(sealed, 0, length, out, 0), NOT_AUTHENTIC)
})
