import assert from 'node:assert/strict'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import test, { type TestContext } from 'node:test'
import { freePort, sleep, until } from '#sys'
import { Daemon } from '../daemon/daemon.ts'
import { FUZZ_RUNS } from '../fuzz.fixture.ts'
import { identityOf } from '../identity.ts'
import { decodePiece } from './decode.ts'
import { createSender } from './sender.ts'
import { Stream } from './stream.ts'
import { openStreams, type Service, type Streams } from './streams.ts'
import { encodePiece, HEADER, KIND, openBody } from './wire.ts'

type End = { streams: Streams; address: Buffer }

/** Two nodes and what is between them; FATE says after how many milliseconds each payload arrives: never, at once, twice. */
function pair(t: TestContext, services: Record<string, Service>, fate: (payload: Buffer) => number[] = () => [0]) {
  const ends: End[] = []
  for (const n of [0, 1]) {
    const identity = identityOf(randomBytes(32))
    const from = { address: identity.address, publicKey: identity.publicKey.toString('hex') }
    const streams = openStreams(identity, n ? services : {}, (_to, payloads) => {
      for (const payload of payloads)
        for (const delay of fate(payload))
          setTimeout(() => ends[1 - n]!.streams.receive(from, decodePiece(payload)!), delay)
    })
    ends.push({ streams, address: identity.address })
    t.after(() => streams.close())
  }
  return ends as [End, End]
}

/** Gives back what it got, once it has all of it, with its length in front. */
const echo: Service = () => {
  const got: Buffer[] = []
  return new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      got.push(chunk)
      done()
    },
    final(done) {
      const all = Buffer.concat(got)
      this.push(Buffer.concat([Buffer.from(`${all.length} `), all]))
      this.push(null)
      done()
    },
  })
}

async function said(stream: Duplex, bytes: Buffer): Promise<Buffer> {
  stream.end(bytes)
  return buffer(stream)
}

test('bytes arrive whole and in order, over a line that loses, repeats and reorders', async (t) => {
  const fates = [[0, 3], [randomInt(30)], ...Array.from({ length: 7 }, () => [0])]
  let [sent, lost] = [0, 0]
  let loses = randomInt(10)
  const [a, b] = pair(t, { echo }, () => {
    if (sent++ !== loses) return fates[randomInt(fates.length)]!
    // one of ten, wherever it stands
    loses += 10 - (loses % 10) + randomInt(10)
    lost++
    return []
  })
  const all = [0, 1, 11, 16 << 10, 200_000].map(async (size) => {
    const bytes = randomBytes(size)
    const answer = await said(a.streams.dial(b.address, 'echo'), bytes)
    assert.ok(answer.equals(Buffer.concat([Buffer.from(`${size} `), bytes])), `${size} bytes`)
  })
  await Promise.all(all)
  assert.ok(lost > 5, `${lost} lost`)
})

test('a path that carries no large pieces is found out, and small ones are taken', async (t) => {
  const [a, b] = pair(t, { echo }, (payload) => (payload.length > 1200 ? [] : [0]))
  const bytes = randomBytes(20_000)
  const answer = await said(a.streams.dial(b.address, 'echo'), bytes)
  assert.ok(answer.subarray(6).equals(bytes))
})

test('what passed before to a node is not tried again', async (t) => {
  /** Of its pieces, by the number of the stream: of one that is over, answers to what was asked twice may come late. */
  const lengths = new Map<number, number[]>()
  const [a, b] = pair(t, { echo }, (payload) => {
    const { stream } = decodePiece(payload)!
    lengths.set(stream, [...(lengths.get(stream) ?? []), payload.length])
    return [0]
  })
  assert.equal(String(await said(a.streams.dial(b.address, 'echo'), Buffer.from('one'))), '3 one')
  assert.equal(String(await said(a.streams.dial(b.address, 'echo'), Buffer.from('two'))), '3 two')
  const [first, second] = [...lengths.values()]
  assert.equal(first![0], 16 << 10)
  assert.ok(Math.max(...second!) < 100)
})

test('a stream that is only kept open wakes nobody', async (t) => {
  const [a, b] = pair(t, { talk: () => new PassThrough() })
  const stream = a.streams.dial(b.address, 'talk')
  stream.write('word')
  assert.equal(String((await once(stream, 'data'))[0]), 'word')
  const ticks = t.mock.method(Stream.prototype, 'tick')
  await until('all of it to be acknowledged', 20_000, async () => {
    ticks.mock.resetCalls()
    await sleep(300)
    return ticks.mock.callCount() === 0
  })
  await sleep(1_000)
  assert.equal(ticks.mock.callCount(), 0)
})

test('a piece that never arrives is said again, ever more slowly, and then no more', () => {
  const said: number[] = []
  const sender = createSender((_kind, number) => said.push(number))
  sender.acknowledge(0, 32, 0)
  sender.data(Buffer.alloc(3000), 1200, 0)
  assert.deepEqual(said, [0, 1, 2])
  let now = 0
  while (sender.tick(now)) now += 50
  assert.ok(now > 5_000 && now < 30_000, `${now} ms`)
  assert.deepEqual([...new Set(said.slice(3))], [0])
})

test('a reader that stops holds the sender back, and what is between is bounded', async (t) => {
  let goOn = (): void => {}
  let taken = 0
  const first = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const slow: Service = () =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        taken += chunk.length
        void first.then(() => done())
      },
      final(done) {
        this.push(null)
        done()
      },
    })
  const [a, b] = pair(t, { slow })
  const stream = a.streams.dial(b.address, 'slow')
  const piece = Buffer.alloc(64 << 10)
  let written = 0
  const more = (): void => {
    while (written < 8 << 20) {
      written += piece.length
      if (!stream.write(piece)) return
    }
    stream.end()
  }
  stream.on('drain', more)
  more()
  await sleep(400)
  assert.ok(written < 2 << 20 && taken < 2 << 20, `${written} bytes written, ${taken} taken`)
  goOn()
  await once(stream.resume(), 'end')
  assert.equal(taken, written)
})

test('what is not offered, what breaks and what is unknown ends a stream with its reason', async (t) => {
  const broken = new PassThrough()
  const [a, b] = pair(t, { broken: () => broken })
  const failure = async (stream: Duplex) => ((await once(stream.resume(), 'error'))[0] as Error).message
  assert.match(await failure(a.streams.dial(b.address, 'other')), /Reach "other" at .*: it offers no such service/)
  const stream = a.streams.dial(b.address, 'broken')
  const why = failure(stream)
  await once(stream, 'connect')
  broken.destroy(new Error('the disk is gone'))
  assert.match(await why, /the disk is gone/)
  // nor does one that is broken from the start, or is asked for by an OPEN that comes late, break more than its stream
  assert.match(await failure(a.streams.dial(b.address, 'broken')), /the disk is gone/)
})

test('each piece has the layout that is written down, and is cut off nowhere unnoticed', () => {
  const piece = { opener: true, window: 32, stream: 0x01020304, number: 7 }
  for (const [hex, made, text] of [
    [
      '01010020 01020304 000004b0 03 687562',
      { ...piece, kind: KIND.open, number: 1200, body: openBody('hub', 0) },
      'hub',
    ],
    [
      '02000020 01020304 000004b0 00000000',
      { ...piece, kind: KIND.accept, opener: false, number: 1200, body: Buffer.alloc(4) },
      '',
    ],
    ['03010020 01020304 00000007 616263', { ...piece, kind: KIND.data, body: Buffer.from('abc') }, ''],
    ['04010020 01020304 00000007', { ...piece, kind: KIND.end, body: Buffer.alloc(0) }, ''],
    ['05010020 01020304 00000007', { ...piece, kind: KIND.ack, body: Buffer.alloc(0) }, ''],
    [
      '06010000 01020304 00000000 676f6e65',
      { ...piece, kind: KIND.reset, window: 0, number: 0, body: Buffer.from('gone') },
      'gone',
    ],
  ] as const) {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    assert.deepEqual(encodePiece(made), bytes)
    assert.deepEqual(decodePiece(bytes), { ...made, text })
    for (let end = 0; end < HEADER; end++) assert.equal(decodePiece(bytes.subarray(0, end)), undefined)
    // what a body says of itself must be there: an OPEN without all of its name asks for nothing
    if (made.kind === KIND.open)
      for (let end = HEADER; end < bytes.length; end++) assert.equal(decodePiece(bytes.subarray(0, end))?.text, '')
  }
  for (const name of ['', 'UPPER', 'with space', 'x'.repeat(33)])
    assert.equal(decodePiece(encodePiece({ ...piece, kind: KIND.open, body: openBody(name, 0) }))?.text, '', name)
})

test('pieces: whatever they claim, nothing else breaks and no more is kept', async (t) => {
  const [a, b] = pair(t, { echo })
  const from = { address: a.address, publicKey: '' }
  const first = a.streams.dial(b.address, 'echo')
  await once(first, 'connect')
  for (let n = 0; n < FUZZ_RUNS; n++) {
    const piece = randomBytes(randomInt(60))
    if (n % 2 && piece.length >= HEADER) {
      piece[0] = randomInt(8)
      piece[1] = randomInt(2)
      piece.writeUInt32BE(randomInt(200), 4)
      piece.writeUInt32BE(randomInt(100), 8)
    }
    const decoded = decodePiece(piece)
    if (!decoded) continue
    assert.deepEqual(encodePiece(decoded), piece)
    b.streams.receive(from, decoded)
  }
  const open = { kind: KIND.open, opener: true, window: 1, number: 1200, body: Buffer.from('\u0004echo') }
  for (let stream = 1000; stream < 2000; stream++)
    b.streams.receive(from, decodePiece(encodePiece({ ...open, stream }))!)
  const answer = await said(first, Buffer.from('still here'))
  assert.equal(String(answer), '10 still here')
})

test('two nodes: a megabyte each way through a service on a port, over sealed frames', async (t) => {
  const bytes = randomBytes(1 << 20)
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const endpoint = { scheme: 'tcp', ip: '127.0.0.1', port: await freePort() } as const
  const serve = { copy: () => connect({ host: '127.0.0.1', port, allowHalfOpen: true }) }
  const secret = randomBytes(32)
  await using _one = await Daemon.start({ secret, listen: [endpoint], peers: [], services: serve })
  await using two = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [endpoint] })
  const { address } = identityOf(secret)
  const hash = (b: Buffer) => createHash('sha256').update(b).digest('hex')
  assert.equal(hash(await said(two.dial(address, 'copy'), bytes)), hash(bytes))
  const begun = performance.now()
  for (let n = 0; n < 20; n++) assert.equal(String(await said(two.dial(address, 'copy'), Buffer.from('ping'))), 'ping')
  t.diagnostic(`a stream opened, asked, answered and closed: ${((performance.now() - begun) / 20).toFixed(1)} ms`)
})
