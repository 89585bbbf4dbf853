import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { until } from '#sys'
import { changed, FUZZ_RUNS } from '../fuzz.fixture.ts'
import { identityOf } from '../identity.ts'
import { decodePiece } from './decode.ts'
import { type Messages, openMessages } from './messages.ts'
import { acknowledgement, encodePiece, type Piece } from './wire.ts'

type End = { messages: Messages; address: Buffer; dir: string; restart: () => Promise<void> }

/** Two nodes and what is between them; LOSES tells which payloads vanish. */
async function pair(t: TestContext, loses: (payload: Buffer) => boolean = () => false): Promise<[End, End]> {
  const ends: End[] = []
  for (const n of [0, 1]) {
    const identity = identityOf(randomBytes(32))
    const dir = await mkdtemp(join(tmpdir(), 'zos-messages-'))
    t.after(() => rm(dir, { recursive: true }))
    const send = (_to: Buffer, payloads: Buffer[]) => {
      const other = ends[1 - n]!
      const from = { address: identity.address, publicKey: identity.publicKey.toString('hex') }
      for (const payload of payloads)
        if (!loses(payload)) setImmediate(() => void other.messages.receive(from, decodePiece(Buffer.from(payload))!))
    }
    const open = () => openMessages({ dir, identity, send })
    const end: End = {
      messages: await open(),
      address: identity.address,
      dir,
      async restart() {
        await end.messages[Symbol.asyncDispose]()
        end.messages = await open()
      },
    }
    ends.push(end)
    t.after(() => end.messages[Symbol.asyncDispose]())
  }
  return ends as [End, End]
}

const topic = Buffer.from('news')
const ID = '0123456789abcdef'
const WAIT = { peek: false, timeout: 20_000 }

test('a message arrives whole over a line that loses a third of all pieces, once, and is read', async (t) => {
  let n = 0
  const [a, b] = await pair(t, () => n++ % 3 === 0)
  const data = randomBytes(40_000)
  const id = a.messages.push({ to: b.address, topic, data })
  const got = await b.messages.take({ topic }, WAIT)
  assert.deepEqual([got?.id, got?.payload], [id, data])
  await until('the sender to know', 20_000, () => a.messages.status(id)?.state !== 'pending')
  assert.equal(await b.messages.take({}, { peek: true, timeout: 0 }), undefined)
  assert.deepEqual(await readdir(b.dir), [])
})

test('empty messages, topics and replies; a reply goes to who waits for it', async (t) => {
  const [a, b] = await pair(t)
  const id = a.messages.push({ to: b.address, topic: Buffer.alloc(0), data: Buffer.alloc(0) })
  const other = b.messages.take({ topic }, { peek: false, timeout: 50 })
  const reply = a.messages.take({ replyTo: id }, WAIT)
  const anything = a.messages.take({}, { peek: false, timeout: 300 })
  const got = await b.messages.take({}, WAIT)
  assert.equal(got?.payload.length, 0)
  assert.equal(await other, undefined)
  await until('read', 10_000, () => a.messages.status(id)?.state === 'read')
  b.messages.push({ to: a.address, topic: Buffer.alloc(0), data: Buffer.from('yes'), replyTo: got!.id })
  assert.equal((await reply)?.payload.toString(), 'yes')
  assert.equal(await anything, undefined)
})

test('who takes messages for one purpose has no room for others, whether they come as replies or not', async (t) => {
  const [a, b] = await pair(t)
  const words = Buffer.from('words')
  b.messages.restrict(({ address }, said, reply) => address.equals(a.address) && said.equals(words) && !reply)
  const data = Buffer.from('x')
  const refused = [
    a.messages.push({ to: b.address, topic, data }),
    a.messages.push({ to: b.address, topic: words, data, replyTo: 'ab'.repeat(8) }),
  ]
  const id = a.messages.push({ to: b.address, topic: words, data })
  assert.equal((await b.messages.take({}, WAIT))?.id, id)
  await until('both to be refused', 10_000, () => b.messages.counters['sender-refused']! >= 2)
  for (const one of refused) assert.equal(a.messages.status(one)?.state, 'pending')
  assert.deepEqual(await readdir(b.dir), [])
})

test('a conversation goes on under one id: each reply arrives', async (t) => {
  const [a, b] = await pair(t)
  const none = Buffer.alloc(0)
  const id = a.messages.push({ to: b.address, topic: none, data: Buffer.from('hello') })
  for (const [from, to, text] of [
    [b, a, 'who is there?'],
    [a, b, 'me'],
    [b, a, 'who?'],
    [a, b, 'you know'],
  ] as const) {
    assert.equal((await from.messages.take({}, WAIT))?.id, id)
    from.messages.push({ to: to.address, topic: none, data: Buffer.from(text), replyTo: id })
  }
  assert.equal((await b.messages.take({}, WAIT))?.payload.toString(), 'you know')
})

test('what was acknowledged is there after the receiver has ended without warning, in order; what was not is sent anew', async (t) => {
  const [a, b] = await pair(t)
  const ids = ['one', 'two'].map((text) => a.messages.push({ to: b.address, topic, data: Buffer.from(text) }))
  await until('both received', 10_000, () => ids.every((id) => a.messages.status(id)?.state === 'received'))
  await writeFile(join(b.dir, '000000000009-00.tmp'), 'a write cut short')
  await b.restart()
  const first = await b.messages.take({ topic }, { peek: true, timeout: 0 })
  assert.ok(first && (await b.messages.remove(first.id)))
  assert.equal(await b.messages.remove(first.id), false)
  const second = await b.messages.take({ topic }, { peek: false, timeout: 0 })
  assert.deepEqual([first.payload.toString(), second?.payload.toString()].sort(), ['one', 'two'])

  // ends in the middle of a message: it has forgotten the chunks it acknowledged
  const data = randomBytes(30_000)
  const id = a.messages.push({ to: b.address, topic, data })
  const { messages } = b
  let chunks = 0
  const half: Messages = {
    ...messages,
    receive: async (from, piece) => {
      if (chunks++ < 15) await messages.receive(from, piece)
    },
  }
  b.messages = half
  await until('half of it', 10_000, () => chunks >= 15)
  await b.restart()
  assert.deepEqual((await b.messages.take({ topic }, WAIT))?.payload, data)
  await until('received', 10_000, () => ['received', 'read'].includes(String(a.messages.status(id)?.state)))
})

test('who may send to a topic is asked for, and outlives a restart; replies are always taken', async (t) => {
  const [a, b] = await pair(t)
  await b.messages.topics.addSource(topic, '5ff::/16')
  await b.messages.topics.setDefault(false)
  await b.restart()
  assert.deepEqual(b.messages.topics.sources(topic), ['5ff::/16'])
  a.messages.push({ to: b.address, topic, data: Buffer.from('x') })
  a.messages.push({ to: b.address, topic: Buffer.from('other'), data: Buffer.from('x') })
  await until('both refused', 10_000, () => (b.messages.counters['topic-refused'] ?? 0) >= 2)
  await b.messages.topics.addSource(topic, '400::/7')
  assert.ok(await b.messages.take({ topic }, WAIT))
  await assert.rejects(b.messages.topics.addSource(topic, '5ff::/200'), /Read source "5ff::\/200"/)
})

test('a topic is forwarded to a program, whose answer is the reply; what it does not answer waits to be fetched', async (t) => {
  const [a, b] = await pair(t)
  const path = join(b.dir, 'program.sock')
  const handed: string[] = []
  // as with the public daemon the other side is not closed: what is written says where it ends
  const server = createServer((socket) =>
    socket.once('data', (data: Buffer) => {
      handed.push(String(data))
      socket.end(String(data) === 'quiet' ? '' : `${data}!`)
    }),
  )
  server.listen(path)
  t.after(() => server.close())
  await once(server, 'listening')
  await b.messages.topics.forwardTo(topic, path)
  await b.restart()
  assert.equal(b.messages.topics.socket(topic), path)
  const send = (text: string) => a.messages.push({ to: b.address, topic, data: Buffer.from(text) })
  const id = send('hello')
  // it is for the program, not for who asks for anything
  const anything = b.messages.take({}, { peek: false, timeout: 2_000 })
  assert.equal(String((await a.messages.take({ replyTo: id }, WAIT))?.payload), 'hello!')
  await until('read', 10_000, () => a.messages.status(id)?.state === 'read')
  assert.equal(await anything, undefined)
  send('quiet')
  assert.equal(String((await b.messages.take({ topic }, WAIT))?.payload), 'quiet')
  server.close()
  await once(server, 'close')
  send('nobody there')
  assert.equal(String((await b.messages.take({ topic }, WAIT))?.payload), 'nobody there')
  await b.messages.topics.forwardNoMore(topic)
  send('fetched')
  assert.equal(String((await b.messages.take({ topic }, WAIT))?.payload), 'fetched')
  assert.deepEqual(handed, ['hello', 'quiet'])
  assert.deepEqual(b.messages.counters, { forwarded: 1, 'not-forwarded': 2 })
  for (const bad of ['relative.sock', `/${'x'.repeat(107)}`, 7, undefined])
    await assert.rejects(b.messages.topics.forwardTo(topic, bad), { code: 'bad-socket' })
})

test('every piece survives the wire, and none of its beginnings or of random bytes is read past its end', () => {
  const id = '0123456789abcdef'
  const pieces: Piece[] = [
    { kind: 'init', id, ack: false, reply: true, length: 5, topic },
    { kind: 'chunk', id, ack: false, index: 1, offset: 2, data: Buffer.from('abc') },
    { kind: 'done', id, ack: true, chunks: 3, checksum: Buffer.alloc(32, 7) },
    { kind: 'read', id, ack: false },
    { kind: 'aborted', id, ack: false },
  ]
  for (const piece of pieces) {
    const bytes = encodePiece(piece)
    assert.deepEqual(decodePiece(bytes), piece)
    for (let end = 0; end < bytes.length; end++) assert.equal(decodePiece(bytes.subarray(0, end)), undefined)
  }
  for (let n = 0; n < FUZZ_RUNS; n++)
    decodePiece(n % 2 ? randomBytes(n % 80) : changed(encodePiece(pieces[(n >> 1) % pieces.length]!)))
})

/** As the public daemon lays them out (message.rs and its init.rs, chunk.rs, done.rs): id, flags, reserved, what the flags say. */
const LAYOUT: [hex: string, piece: Piece][] = [
  ['8000 0000 0000000000000005 04 6e657773', { kind: 'init', id: ID, ack: false, reply: false, length: 5, topic }],
  [
    '8400 0000 0000000000000000 00',
    { kind: 'init', id: ID, ack: false, reply: true, length: 0, topic: Buffer.alloc(0) },
  ],
  [
    '1000 0000 0000000000000001 0000000000000002 0000000000000003 616263',
    { kind: 'chunk', id: ID, ack: false, index: 1, offset: 2, data: Buffer.from('abc') },
  ],
  [
    `4000 0000 0000000000000003 ${'07'.repeat(32)}`,
    { kind: 'done', id: ID, ack: false, chunks: 3, checksum: Buffer.alloc(32, 7) },
  ],
  [
    `4100 0000 0000000000000003 ${'07'.repeat(32)}`,
    { kind: 'done', id: ID, ack: true, chunks: 3, checksum: Buffer.alloc(32, 7) },
  ],
  ['0800 0000', { kind: 'read', id: ID, ack: false }],
  ['2000 0000', { kind: 'aborted', id: ID, ack: false }],
]

test("each piece has the public daemon's layout, and so has what is said back", () => {
  const bytesOf = (hex: string) => Buffer.from(`${ID}${hex.replaceAll(' ', '')}`, 'hex')
  for (const [hex, piece] of LAYOUT) {
    assert.deepEqual(encodePiece(piece), bytesOf(hex), hex)
    assert.deepEqual(decodePiece(bytesOf(hex)), piece, hex)
  }
  const said = (n: number) => acknowledgement(LAYOUT[n]![1])
  assert.deepEqual(said(0), bytesOf('8100 0000 0000000000000005 04 6e657773'))
  // the numbers alone, without the data
  assert.deepEqual(said(2), bytesOf('1100 0000 0000000000000001 0000000000000002 0000000000000003'))
  assert.deepEqual(said(3), bytesOf(`4100 0000 0000000000000003 ${'07'.repeat(32)}`))
  assert.deepEqual(decodePiece(said(2)), { ...LAYOUT[2]![1], ack: true, data: Buffer.alloc(0) })
  // upstream says back a beginning without its topic
  assert.equal(decodePiece(bytesOf('8100 0000 0000000000000005 04'))?.kind, 'init')
})

test('hostile senders: lies about sizes, too much at once, floods; each is counted and what waits stays bounded', async (t) => {
  const [, b] = await pair(t)
  const from = { address: Buffer.alloc(16, 4), publicKey: 'ab'.repeat(32) }
  const say = (piece: Piece) => b.messages.receive(from, piece)
  const id = (n: number) => n.toString(16).padStart(16, '0')
  await say({ kind: 'init', id: id(0), ack: false, reply: false, length: 9 << 20, topic })
  for (let n = 1; n <= 20; n++) await say({ kind: 'init', id: id(n), ack: false, reply: false, length: 1000, topic })
  const chunk = (more: object): Piece => ({
    kind: 'chunk',
    id: id(1),
    ack: false,
    index: 0,
    offset: 0,
    data: Buffer.alloc(500),
    ...more,
  })
  await say(chunk({ offset: 501 }))
  await say(chunk({ index: 1e9 }))
  await say(chunk({ data: Buffer.alloc(1) }))
  await say({ kind: 'done', id: id(1), ack: false, chunks: 1, checksum: Buffer.alloc(32) })
  await say(chunk({}))
  await say(chunk({ index: 1, offset: 500 }))
  await say({ kind: 'done', id: id(1), ack: false, chunks: 2, checksum: Buffer.alloc(32) })
  assert.deepEqual(b.messages.counters, {
    'message-too-large': 1,
    'inbox-full': 12,
    'bad-chunk': 3,
    'incomplete-message': 1,
    'bad-checksum': 1,
  })
  assert.deepEqual(await readdir(b.dir), [])
  assert.throws(() => b.messages.push({ to: from.address, topic: Buffer.alloc(256), data: topic }), /255/)
  assert.throws(() => b.messages.push({ to: from.address, topic, data: Buffer.alloc((8 << 20) + 1) }), /at most/)
})
