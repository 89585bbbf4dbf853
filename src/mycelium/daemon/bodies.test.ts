import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import test from 'node:test'
import { changed, FUZZ_RUNS } from '../fuzz.fixture.ts'
import { encodePiece as encodeMessage } from '../messages/wire.ts'
import { encodeInitiation, encodeOffer, encodeResponse, PROLOGUE, SESSION } from '../session/handshake.ts'
import { initiate } from '../session/noise.ts'
import { encodePiece as encodeStream, KIND, openBody } from '../streams/wire.ts'
import { icmpError, timeExceeded, wrapOob } from '../wire/icmp.ts'
import { CAPABILITY, LARGE } from '../wire/large.ts'
import { MESSAGE, OOB_ICMP, PACKET, STREAM } from '../wire/seal.ts'
import { frame, me, node, packet, you } from './plane.fixture.ts'

const tcpPacket = packet(
  me,
  you,
  Buffer.concat([Buffer.from('9c40005000000001000000005010ffff00000000', 'hex'), randomBytes(3000)]),
)
tcpPacket[6] = 6
const begun = initiate(me, you.publicKey, PROLOGUE, encodeOffer(7, Date.now()))!

/** A body of every type that another node may seal for us, and what it is called when it is no such thing. */
const BODIES: { what: string; type: number; body: Buffer; fault: string }[] = [
  { what: 'packet', type: PACKET, body: packet(me, you), fault: 'bad-inner-packet' },
  {
    what: 'large packet',
    type: LARGE,
    body: Buffer.concat([Buffer.from([4, 0, 0, 0]), tcpPacket]),
    fault: 'bad-inner-packet',
  },
  { what: 'question about size', type: CAPABILITY, body: Buffer.from([0, 0, 0xff, 0]), fault: 'bad-capability' },
  { what: 'answer about size', type: CAPABILITY, body: Buffer.from([1, 0, 0xff, 0]), fault: 'bad-capability' },
  {
    what: 'error',
    type: OOB_ICMP,
    body: wrapOob(me.address, icmpError(me.address, you.address, timeExceeded, randomBytes(60))),
    fault: 'bad-error',
  },
  { what: 'initiation', type: SESSION, body: encodeInitiation(begun.message), fault: 'handshake-not-authentic' },
  { what: 'response', type: SESSION, body: encodeResponse(7, begun.message), fault: 'handshake-not-authentic' },
  {
    what: 'opening of a stream',
    type: STREAM,
    body: encodeStream({ kind: KIND.open, opener: true, window: 4, stream: 9, number: 60, body: openBody('hub', 60) }),
    fault: 'bad-piece',
  },
  {
    what: 'beginning of a message',
    type: MESSAGE,
    body: encodeMessage({
      kind: 'init',
      id: 'ab'.repeat(8),
      ack: false,
      reply: false,
      length: 40,
      topic: Buffer.from('t'),
    }),
    fault: 'bad-piece',
  },
]

/** Handshakes are for who may speak sessions; all else is looked at, without one, by who knows the sender to be no node of ours. */
const demandOf = (type: number) => (type === SESSION ? 'either' : 'legacy')

for (const { what, type, body, fault } of BODIES)
  test(`a sealed ${what}: cut off at every byte it is counted and goes nowhere`, (t) => {
    const b = node(t, you, demandOf(type))
    b.learn(me)
    // at its first bytes a handshake is none, a stream's piece no piece: all faults there are
    const faults = new Set([
      fault,
      'bad-handshake',
      'bad-piece',
      'handshake-flood',
      'bad-large-packet',
      'message-refused',
    ])
    for (let length = 0; length < body.length; length++) {
      // a longer body is cut where its header could be
      if (length > 300 && length < body.length - 20) continue
      b.clock.now += 200
      const before = { ...b.plane.counters }
      b.receive(frame(me, you, body.subarray(0, length), { type }))
      const rose = Object.entries(b.plane.counters).filter(([name, n]) => n !== (before[name] ?? 0))
      assert.ok(
        rose.some(([name]) => faults.has(name)),
        `${length} of ${body.length}: ${JSON.stringify(rose)}`,
      )
    }
    assert.equal(b.kernelGot().length, 0)
  })

test('sealed bodies of every type, changed anywhere: nothing breaks, and each fault is counted', (t) => {
  const nodes = { legacy: node(t, you, 'legacy'), either: node(t, you, 'either') }
  for (const b of Object.values(nodes)) b.learn(me)
  for (let n = 0; n < FUZZ_RUNS; n++) {
    const { type, body } = BODIES[randomInt(BODIES.length)]!
    const b = nodes[demandOf(type)]
    b.clock.now += 7
    b.receive(frame(me, you, changed(body, 80), { type: randomInt(50) === 0 ? randomInt(20, 256) : type }))
    if (n % 1000 === 0) b.sent.splice(0)
  }
  const faults = [
    'bad-inner-packet',
    'spoofed',
    'bad-large-packet',
    'bad-capability',
    'bad-error',
    'bad-piece',
    'unknown-inner-type',
  ]
  for (const [b, names] of [
    [nodes.legacy, faults],
    [nodes.either, ['bad-handshake', 'handshake-not-authentic']],
  ] as const)
    for (const name of names)
      assert.ok((b.plane.counters[name] ?? 0) > 0, `${name}: ${JSON.stringify(b.plane.counters)}`)
})
