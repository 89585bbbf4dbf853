import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { closeFd, EAGAIN, makeTap, readFd, refusesTaps, sleep, until, writeFd } from '#sys'
import { Daemon } from '../daemon/daemon.ts'
import { packetBuffer, VNET_HEADER } from '../daemon/offload.ts'
import { type Identity, identityOf } from '../identity.ts'
import { checksum } from '../wire/icmp.ts'
import { Guest, LIMIT, tcp } from './guest.fixture.ts'
import { ipv4OfSlot, type NicNetwork } from './network.ts'
import { ICMPV6, ipv6Packet, TCP } from './packet.ts'
import { finish, leave } from './unfinished.ts'

const ETHERNET = Buffer.from('027a6f730001027a6f73000286dd', 'hex')
const sumAt = 40 + 16
/** 0xffff when the checksum of the TCP packet fits. */
const sumOf = (packet: Buffer) => checksum(packet, 8, packet.length, packet.length - 40 + TCP)

/** A machine's side of a tap in a network namespace of its own. */
class Machine {
  readonly secret = randomBytes(32)
  readonly identity: Identity = identityOf(this.secret)
  readonly #namespace: string
  readonly #name = `zx${randomBytes(4).toString('hex')}`
  #fd = -1

  constructor(pid: number, path: string) {
    this.#namespace = `/proc/${pid}/ns/net`
    this.comeBack()
    writeFileSync(path, `tap ${pid} ${this.#name}\n`)
  }
  comeBack(): void {
    this.#fd = makeTap(this.#namespace, this.#name)
  }
  leave(): void {
    if (this.#fd >= 0) closeFd(this.#fd)
    this.#fd = -1
  }
  /** HEADER: the virtio header; without one the packet's checksum is left to the card. Gives what the kernel says. */
  send(packet: Buffer, header?: Buffer): number {
    const vnet = header ?? Buffer.alloc(VNET_HEADER)
    if (!header) {
      vnet[0] = 1
      vnet.writeUInt16LE(ETHERNET.length + 40, 6)
      vnet.writeUInt16LE(16, 8)
      packet.writeUInt16BE(checksum(packet, 8, 40, packet.length - 40 + TCP), sumAt)
    }
    const frame = Buffer.concat([vnet, ETHERNET, packet])
    return writeFd(this.#fd, frame, 0, frame.length)
  }
  take(): Buffer | undefined {
    const frame = Buffer.alloc(70_000)
    const n = readFd(this.#fd, frame, 0, frame.length)
    assert.ok(n > 0 || n === -EAGAIN, String(n))
    return n > 0 ? frame.subarray(VNET_HEADER + ETHERNET.length, n) : undefined
  }
  next = (): Promise<Buffer> => until('a frame', LIMIT, () => this.take(), 2)
}

async function machineAndGuest(t: TestContext, rate?: number) {
  const dir = mkdtempSync(join(tmpdir(), 'zos-tap-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  t.after(() => holder.kill('SIGKILL'))
  holder.stdin.write('.')
  await once(holder.stdout, 'data')
  const path = join(dir, 'machine')
  const machine = new Machine(holder.pid!, path)
  t.after(() => machine.leave())
  const guest = new Guest(t, dir, 'guest')
  const network: NicNetwork = {
    domain: 'shop.zos',
    members: [machine, guest].map(({ identity }, n) => ({
      names: [`w${n}`],
      address: identity.address,
      ipv4: ipv4OfSlot(n),
    })),
    ports: [{ protocol: 'tcp', port: 80 }],
  }
  const daemon = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [] })
  t.after(() => daemon[Symbol.asyncDispose]())
  const limited = rate === undefined ? network : { ...network, rate }
  await daemon.attach({ secret: machine.secret, port: { kind: 'nic', path, network: limited } })
  await daemon.attach({ secret: guest.secret, port: { kind: 'nic', path: guest.path, network } })
  await guest.attached()
  const counted = async (name: string) => ((await daemon.status()) as { packets: Record<string, number> }).packets[name]
  return { machine, guest, counted }
}

const lacking = process.getuid?.() === 0 ? refusesTaps('/proc/self/ns/net', `zy${process.pid}`) : 'taps need root'

test('a machine on a tap: large packets, checksums that it left, coming back', { skip: lacking }, async (t) => {
  const { machine, guest, counted } = await machineAndGuest(t)
  for (const length of [20, 21, 1_399, 64_900]) {
    const packet = tcp(machine.identity, guest.identity, 40_000, 80, length)
    randomBytes(length - 20).copy(packet, 60)
    machine.send(packet)
    const got = await guest.next()
    assert.equal(sumOf(got), 0xffff, `a packet of ${length} was not summed up`)
    assert.ok(got.subarray(60).equals(packet.subarray(60)))
    const back = tcp(guest.identity, machine.identity, 80, 40_000, length)
    guest.send(back)
    const arrived = await machine.next()
    // the kernel in between sums up for a reader that did not ask for more
    assert.equal(sumOf(arrived), 0xffff)
    assert.ok(arrived.subarray(60).equals(back.subarray(60)))
  }
  // IPv4 in, and out as IPv4
  const ipv4 = Buffer.from(`4500002800000000400600000a9000020a900003`, 'hex')
  const segment = Buffer.alloc(20)
  segment.writeUInt16BE(40_001, 0)
  segment.writeUInt16BE(80, 2)
  segment[12] = 0x50
  segment.writeUInt16BE(checksum(ipv4, 12, 20, 20 + TCP), 16)
  ipv4.writeUInt16BE(~checksum(ipv4, 0, 20) & 0xffff, 10)
  const left = Buffer.alloc(VNET_HEADER)
  left[0] = 1
  left.writeUInt16LE(ETHERNET.length + 20, 6)
  left.writeUInt16LE(16, 8)
  ETHERNET.writeUInt16BE(0x0800, 12)
  machine.send(Buffer.concat([ipv4, segment]), left)
  ETHERNET.writeUInt16BE(0x86dd, 12)
  const translated = await guest.next('0800')
  assert.equal(checksum(translated, 12, translated.length, 20 + TCP), 0xffff)

  machine.leave()
  await sleep(50)
  machine.comeBack()
  const again = tcp(machine.identity, guest.identity, 40_002, 80)
  await until('the network plane to come back', LIMIT, () => machine.send(Buffer.from(again)) && guest.received.shift())
  assert.equal(await counted('odd-offload'), undefined)
})

test('a tap hears nothing of this node, and what was not offered to it is dropped', { skip: lacking }, async (t) => {
  const { machine, guest, counted } = await machineAndGuest(t)
  machine.send(tcp(machine.identity, guest.identity, 40_000, 80))
  await guest.next()
  // who is there? all nodes of the link, and all routers
  for (const group of ['ff020000000000000000000000000001', 'ff020000000000000000000000000002']) {
    const echo = ipv6Packet(
      machine.identity.address,
      Buffer.from(group, 'hex'),
      ICMPV6,
      Buffer.from('8000000000010001', 'hex'),
      2,
    )
    machine.send(echo, Buffer.alloc(VNET_HEADER))
  }
  // a packet to be cut by the card: linux/virtio_net.h, VIRTIO_NET_HDR_GSO_TCPV6
  const large = tcp(machine.identity, guest.identity, 40_000, 80, 20_000)
  large.writeUInt16BE(checksum(large, 8, 40, large.length - 40 + TCP), sumAt)
  const cut = Buffer.alloc(VNET_HEADER)
  for (const [value, at] of [
    [ETHERNET.length + 60, 2],
    [1_400, 4],
    [ETHERNET.length + 40, 6],
    [16, 8],
  ] as const)
    cut.writeUInt16LE(value, at)
  cut[0] = 1
  cut[1] = 4
  assert.ok(machine.send(large, cut) > 0)
  await until('it to be counted', LIMIT, async () => (await counted('odd-offload')) === 1)
  await sleep(100)
  assert.equal(machine.take(), undefined)
  assert.deepEqual(guest.received, [])
})

test('above its rate a machine on a tap loses packets, and its stream goes on', { skip: lacking }, async (t) => {
  const { machine, guest } = await machineAndGuest(t, 8_000)
  const packet = tcp(machine.identity, guest.identity, 40_000, 80, 1_300)
  machine.send(packet)
  await guest.next()
  const begun = performance.now()
  for (let n = 0; n < 3_000; n++) machine.send(packet)
  const took = performance.now() - begun
  let got = 0
  let quiet = 0
  while (quiet < 40) {
    const now = guest.received.splice(0).length
    got += now
    quiet = now === 0 ? quiet + 1 : 0
    await sleep(25)
  }
  // besides what waited, those that the rate lets through while loaded cores draw the sending out
  assert.ok(got > 100 && got < Math.min(2_000 + took * 0.75, 3_000), `${got} packets of 3000 in ${took} ms`)
  machine.send(packet)
  await guest.next()
})

test('headers that a machine makes up: nothing outside of the frame is touched', () => {
  const { bytes, words } = packetBuffer(4096)
  for (let n = 0; n < 20_000; n++) {
    randomBytes(200).copy(bytes, 1000)
    const at = 1000 + VNET_HEADER + (n & 1)
    const length = 34 + randomInt(100)
    bytes[at - VNET_HEADER] = randomInt(2)
    bytes[at - VNET_HEADER + 1] = n % 3 ? 0 : randomInt(256)
    if (n % 2) bytes.writeUInt16LE(randomInt(160), at - VNET_HEADER + 6)
    if (n % 2) bytes.writeUInt16LE(randomInt(160), at - VNET_HEADER + 8)
    const before = Buffer.from(bytes)
    finish({ bytes, words }, at, length)
    assert.ok(before.subarray(0, at + 34).equals(bytes.subarray(0, at + 34)), 'headers are not sums')
    assert.ok(before.subarray(at + length).equals(bytes.subarray(at + length)))
    before.set(bytes)
    bytes.writeUInt16BE([0x86dd, 0x0800, 0x0806][n % 3]!, at + 12)
    bytes.copy(before, at, at, at + 14)
    leave(bytes, at, length)
    assert.ok(before.subarray(0, at - VNET_HEADER).equals(bytes.subarray(0, at - VNET_HEADER)))
    assert.ok(before.subarray(at + length).equals(bytes.subarray(at + length)))
  }
})
