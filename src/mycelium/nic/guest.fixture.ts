import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { freePort, sleep, until } from '#sys'
import { Daemon } from '../daemon/daemon.ts'
import { type Identity, identityOf } from '../identity.ts'
import { ipv4OfSlot, type NicNetwork } from './network.ts'
import { ipv6Packet, TCP } from './packet.ts'

const GUEST_MAC = '027a6f730002'
/** Milliseconds until what is waited for does not come any more, however loaded the cores are. */
export const LIMIT = 20_000

/** A machine's end of its card: a unix socket with QEMU's framing. */
export class Guest {
  readonly identity: Identity
  readonly secret = randomBytes(32)
  readonly path: string
  readonly received: Buffer[] = []
  #server: Server
  #socket: Socket | undefined

  constructor(t: TestContext, dir: string, name: string) {
    this.identity = identityOf(this.secret)
    this.path = join(dir, name)
    this.#server = this.#listen()
    t.after(() => this.leave())
  }

  #listen(): Server {
    rmSync(this.path, { force: true })
    return createServer((socket) => {
      this.#socket = socket
      let rest = Buffer.alloc(0)
      socket.on('error', () => {})
      socket.on('close', () => {
        if (this.#socket === socket) this.#socket = undefined
      })
      socket.on('data', (data: Buffer) => {
        rest = Buffer.concat([rest, data])
        while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
          const length = rest.readUInt32BE()
          this.received.push(Buffer.from(rest.subarray(4, 4 + length)))
          rest = rest.subarray(4 + length)
        }
      })
    }).listen(this.path)
  }

  leave(): void {
    this.#socket?.destroy()
    this.#server.close()
    this.#socket = undefined
  }

  comeBack(): void {
    this.#server = this.#listen()
  }

  async attached(): Promise<void> {
    await until('the network plane', LIMIT, () => this.#socket !== undefined)
  }

  async detached(): Promise<void> {
    await until('the network plane to let go', LIMIT, () => this.#socket === undefined)
  }

  raw(bytes: Buffer): void {
    this.#socket!.write(bytes)
  }

  /** TYPE is Ethernet's: 86dd for IPv6, 0800 for IPv4. */
  send(packet: Buffer, type = '86dd'): void {
    const frame = Buffer.concat([Buffer.alloc(4), Buffer.from(`027a6f730001${GUEST_MAC}${type}`, 'hex'), packet])
    frame.writeUInt32BE(frame.length - 4)
    this.raw(frame)
  }

  /** The packet of the next frame. */
  async next(type = '86dd'): Promise<Buffer> {
    const frame = await until('a frame', LIMIT, () => this.received.shift(), 2)
    assert.equal(frame.toString('hex', 0, 14), `${GUEST_MAC}027a6f730001${type}`)
    return frame.subarray(14)
  }

  async nothing(): Promise<void> {
    await sleep(150)
    assert.deepEqual(this.received, [])
  }
}

export const tcp = (from: Identity, to: Identity, source: number, destination: number, length = 20): Buffer => {
  const segment = Buffer.alloc(length)
  segment.writeUInt16BE(source, 0)
  segment.writeUInt16BE(destination, 2)
  segment[12] = 0x50
  return ipv6Packet(from.address, to.address, TCP, segment, 16)
}

const networkOf = (...members: [string, Guest][]): NicNetwork => ({
  domain: 'shop.zos',
  members: members.map(([name, { identity }], n) => ({
    names: [name],
    address: identity.address,
    ipv4: ipv4OfSlot(n),
  })),
  ports: [{ protocol: 'tcp', port: 80 }],
})

/** A packet waits for its way, but not for ever: on loaded cores two nodes take their time to be connected. */
export const connected = async (...nodes: Daemon[]): Promise<void> => {
  for (const node of nodes)
    await until('the nodes to be connected', LIMIT, async () => (await node.peers())[0]?.state === 'up')
}

/** web and db of one network on two nodes, cache beside web, and a stranger beside db. */
export async function twoNodes(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'zos-nic-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const [web, cache, db, stranger] = ['web', 'cache', 'db', 'stranger'].map((n) => new Guest(t, dir, n)) as [
    Guest,
    Guest,
    Guest,
    Guest,
  ]
  const network = networkOf(['web', web], ['cache', cache], ['db', db])
  const endpoint = { scheme: 'tcp', ip: '127.0.0.1', port: await freePort() } as const
  const one = await Daemon.start({ secret: randomBytes(32), listen: [endpoint], peers: [] })
  const two = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [endpoint] })
  t.after(async () => {
    await one[Symbol.asyncDispose]()
    await two[Symbol.asyncDispose]()
  })
  const attach = (node: Daemon, { secret, path }: Guest, of: NicNetwork) =>
    node.attach({ secret, port: { kind: 'nic', path, network: of } })
  await attach(one, web, network)
  await attach(one, cache, network)
  await attach(two, db, network)
  await attach(two, stranger, networkOf(['web', web], ['stranger', stranger]))
  for (const guest of [web, cache, db, stranger]) await guest.attached()
  await connected(one, two)
  return { one, two, web, cache, db, stranger, network, attach }
}
