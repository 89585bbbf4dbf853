// What others on the way, and peers with keys of their own, can do to real connections: whole nodes, TCP between them.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import test, { type TestContext } from 'node:test'
import { freePort, until } from '#sys'
import { identityOf } from '../identity.ts'
import type { SealingPolicy } from '../session/policy.ts'
import { encodeControl } from '../wire/control.ts'
import { BODY_AT, DATA, frameLength, SOURCE_AT } from '../wire/frame.ts'
import { Daemon } from './daemon.ts'
import { frame, other, packet } from './plane.fixture.ts'

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Says what it got, as a hash. */
const hashing = () => {
  const hash = createHash('sha256')
  return new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done()
    },
    final(done) {
      this.push(hash.digest('hex'))
      this.push(null)
      done()
    },
  })
}

async function node(t: TestContext, { peer, sealing }: { peer?: number; sealing?: SealingPolicy }) {
  const secret = randomBytes(32)
  const port = await freePort()
  const at = (of: number) => ({ scheme: 'tcp', ip: '127.0.0.1', port: of }) as const
  const daemon = await Daemon.start({
    secret,
    listen: [at(port)],
    peers: peer === undefined ? [] : [at(peer)],
    services: { hashing },
    ...(sealing ? { sealing } : {}),
  })
  t.after(() => daemon[Symbol.asyncDispose]())
  type Status = Record<'packets' | 'faults', Record<string, number>>
  const counted = async () => (await daemon.status()) as unknown as Status
  return { daemon, port, identity: identityOf(secret), counted }
}

/** A relay to PORT that hands on every frame and, behind each data frame, what MEDDLE makes of it. */
async function between(t: TestContext, port: number, meddle: (frame: Buffer) => Buffer[]): Promise<number> {
  const sockets = new Set<Socket>()
  const pass = (from: Socket, to: Socket) => {
    let rest = Buffer.alloc(0)
    from.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes])
      for (let length = frameLength(rest, 0, rest.length); length > 0; length = frameLength(rest, 0, rest.length)) {
        const one = rest.subarray(0, length)
        rest = rest.subarray(length)
        to.write(one)
        if (one[1] === DATA) for (const more of meddle(Buffer.from(one))) to.write(more)
      }
    })
  }
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}))
    pass(near, far)
    pass(far, near)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as { port: number }).port
}

test('who is on the way says every frame again, changes it, and gives it other senders: each is dropped and counted', async (t) => {
  const one = await node(t, {})
  let meddled = 0
  const way = await between(t, one.port, (original) => {
    meddled++
    const changed = Buffer.from(original)
    changed[BODY_AT + (meddled % 20)]! ^= 1
    const cut = Buffer.from(original.subarray(0, original.length - 1))
    cut.writeUInt16BE(cut.length - BODY_AT, 5)
    const named = Buffer.from(original)
    named.set(other.address, SOURCE_AT)
    return [original, changed, cut, named]
  })
  const two = await node(t, { peer: way })
  await until('the connection', 20_000, async () => (await two.daemon.peers())[0]?.state === 'up')
  const bytes = randomBytes(2 << 20)
  const stream = two.daemon.dial(one.identity.address, 'hashing')
  stream.end(bytes)
  assert.equal(String(await buffer(stream)), sha(bytes))
  for (const { counted } of [one, two]) {
    const { packets, faults } = await counted()
    assert.deepEqual(faults, {}, 'whoever is on the way may be an honest relay: the connection stays')
    for (const name of ['replayed', 'not-authentic', 'unknown-sender'])
      assert.ok((packets[name] ?? 0) > 10, `${name}: ${JSON.stringify(packets)} of ${meddled}`)
    assert.equal(packets.downgraded, undefined)
  }
})

test('who falls back to the public form is not heard by a node that takes sessions alone', async (t) => {
  const one = await node(t, {})
  const key = one.identity.publicKey.toString('hex')
  const two = await node(t, { peer: one.port, sealing: { legacy: [key], others: 'either' } })
  const stream = two.daemon.dial(one.identity.address, 'hashing').on('error', () => {})
  stream.end('said in the form that is not taken')
  await until('it to be counted', 20_000, async () => ((await one.counted()).packets.downgraded ?? 0) >= 3)
  stream.destroy()
  const { streams } = (await one.daemon.status()) as unknown as { streams: { counters: object } }
  assert.deepEqual(streams.counters, {})
})

test('a peer with a key of its own, in the name of another: inside the frame and outside, each counted', async (t) => {
  const one = await node(t, { sealing: { others: 'either' } })
  const peer = identityOf(randomBytes(32))
  const socket = connect(one.port, '127.0.0.1')
  socket.on('error', () => {}).resume()
  t.after(() => socket.destroy())
  const routerId = `${peer.publicKey.toString('hex')}${'0'.repeat(16)}`
  const prefix = { bytes: peer.subnet, length: 64 }
  const update = { type: 'update', interval: 30_000, seqno: 0, metric: 0, prefix, routerId } as const
  socket.write(encodeControl(update))
  // announced as the peer's own: not by its key
  socket.write(encodeControl({ ...update, prefix: { bytes: other.subnet, length: 64 } }))
  const to = one.identity
  const good = packet(peer, to)
  for (const bytes of [
    frame(peer, to, packet(other, to)),
    frame(peer, to, packet(peer, other)),
    frame(peer, to, good, { source: other.address }),
    frame(to, to, good),
  ])
    socket.write(bytes)
  await until('all of it to be counted', 20_000, async () => {
    const { packets } = await one.counted()
    return packets.spoofed === 2 && packets['own-source'] === 1
  })
  const { faults } = await one.counted()
  const { routing } = (await one.daemon.status()) as unknown as { routing: { filtered: number } }
  assert.deepEqual([routing.filtered, faults], [1, {}])
  assert.equal((await one.daemon.routes()).length, 1)
})
