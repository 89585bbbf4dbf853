import { createCipheriv, randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Identity, identityOf, sharedSecret } from '../identity.ts'
import { createRouter } from '../router/router.ts'
import type { Demand } from '../session/policy.ts'
import type { Message } from '../wire/control.ts'
import { BODY_AT, DESTINATION_AT, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import { LARGEST } from '../wire/large.ts'
import type { Connection } from './connection.ts'
import { VNET_HEADER } from './offload.ts'
import { createOutQueue, type OutQueue } from './out-queue.ts'
import { createPlane } from './plane.ts'

/** As much of a connection as a plane uses: what is to be sent lies in QUEUE. */
export const linkWith = (queue: OutQueue): Connection =>
  ({ id: 1, endpoint: 'test', queue, stats: { dropped: 0 }, queued: () => {} }) as unknown as Connection

/** A node without sockets: what it sends over its one link is kept, what its kernel would get is in a file. */
export function node(t: TestContext, identity: Identity, demand: Demand = 'legacy', clock = { now: 0 }) {
  const file = join(tmpdir(), `zos-plane-${process.pid}-${randomBytes(4).toString('hex')}`)
  const tun = openSync(file, 'w')
  t.after(() => {
    closeSync(tun)
    rmSync(file)
  })
  const sent: Buffer[] = []
  const said: Message[] = []
  const queue = createOutQueue((bytes, at, length) => sent.push(Buffer.from(bytes.subarray(at, at + length))))
  const connection = linkWith(queue)
  const router = createRouter({
    owns: () => true,
    send: (_link, message) => said.push(message),
    onSelected: (subnet, route) => route && plane.routeFound(subnet),
    onUnreachable: (subnet) => plane.routeMissing(subnet),
  })
  const demandOf = () => demand
  const plane = createPlane({
    identity,
    router,
    connection: () => connection,
    intercept: () => false,
    message: () => false,
    demandOf,
    now: () => clock.now,
  })
  plane.node.port = {
    largest: LARGEST,
    wholeSubnet: false,
    uncut: false,
    write: (p, at, length) => void writeSync(tun, p.bytes, at - VNET_HEADER, length + VNET_HEADER),
    close: () => {},
  }
  router.addOrigin(identity.subnet, `${identity.publicKey.toString('hex')}${'0'.repeat(16)}`, 0)
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  const learn = (other: Identity, now = 0) =>
    router.receive(
      1,
      {
        type: 'update',
        interval: 30000,
        seqno: 0,
        metric: 0,
        prefix: { bytes: other.subnet, length: 64 },
        routerId: `${other.publicKey.toString('hex')}${'0'.repeat(16)}`,
      },
      now,
    )
  const receive = (frame: Buffer) => plane.receive(Buffer.from(frame), 0, frame.length, 1)
  const kernelGot = (): Buffer => {
    plane.flush()
    return readFileSync(file)
  }
  return { plane, router, connection, clock, sent, said, learn, receive, kernelGot }
}

export const [me, you, other] = [
  identityOf(randomBytes(32)),
  identityOf(randomBytes(32)),
  identityOf(randomBytes(32)),
] as const

export function packet(from: Identity, to: Identity, body = randomBytes(20)): Buffer {
  const bytes = Buffer.alloc(40 + body.length)
  bytes[0] = 0x60
  bytes.writeUInt16BE(body.length, 4)
  bytes[6] = 17
  bytes[7] = 64
  bytes.set(from.address, 8)
  bytes.set(to.address, 24)
  bytes.set(body, 40)
  return bytes
}

const secrets = new Map<string, Buffer>()
function secretOf(from: Identity, to: Identity): Buffer {
  const both = from.subnet + to.subnet
  const secret = secrets.get(both) ?? sharedSecret(from, to.publicKey)!
  secrets.set(both, secret)
  return secret
}

/** A frame sealed with node:crypto, independent of the code under test. */
export function frame(
  from: Identity,
  to: Identity,
  inner: Buffer,
  options: { type?: number; source?: Buffer } = {},
): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', secretOf(from, to), nonce)
  const sealed = [cipher.update(Buffer.concat([Buffer.from([1, options.type ?? 0, 0, 0]), inner])), cipher.final()]
  const body = Buffer.concat([...sealed, cipher.getAuthTag(), nonce])
  const out = Buffer.alloc(BODY_AT + body.length)
  writeDataHeader(out, 0, body.length, 63)
  out.set(options.source ?? from.address, SOURCE_AT)
  out.set(to.address, DESTINATION_AT)
  out.set(body, BODY_AT)
  return out
}

export type Node = ReturnType<typeof node>

/** Two nodes that know each other, and what carries their frames. */
export function two(t: TestContext, demands: [Demand, Demand]) {
  const clock = { now: 0 }
  const [a, b] = [node(t, me, demands[0], clock), node(t, you, demands[1], clock)]
  a.learn(you)
  b.learn(me)
  const pass = () => {
    for (let left = 20; left > 0 && a.sent.length + b.sent.length > 0; left--) {
      for (const f of a.sent.splice(0)) b.receive(f)
      for (const f of b.sent.splice(0)) a.receive(f)
    }
  }
  const run = (ms: number) => {
    for (const end = clock.now + ms; clock.now < end; clock.now += 100) {
      for (const one of [a, b]) one.plane.tickImpatient()
      pass()
    }
  }
  return { a, b, clock, pass, run }
}

export const packetsAt = (n: Node, length: number): number => n.kernelGot().length / (VNET_HEADER + length)
