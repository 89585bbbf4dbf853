import { type Subnet, subnetOf } from '../address.ts'
import { decodePiece as decodeMessage } from '../messages/decode.ts'
import { SESSION } from '../session/handshake.ts'
import { indexOf, type Keypair, REPLAYED } from '../session/keypair.ts'
import { decodePiece as decodeStream } from '../streams/decode.ts'
import { BODY_AT, DESTINATION_AT, HOP_LIMIT_AT, MTU, SOURCE_AT } from '../wire/frame.ts'
import { IPV6_HEADER, icmpError, readOob } from '../wire/icmp.ts'
import { ANSWER, ASK, CAPABILITY, LARGE, LARGE_HEADER, PATH_MARK, PATH_MARK_AT } from '../wire/large.ts'
import { INNER_HEADER, MESSAGE, OOB_ICMP, PACKET, STREAM } from '../wire/seal.ts'
import type { Local } from './local.ts'
import {
  clearVnet,
  createCoalescer,
  type Offload,
  type PacketBuffer,
  packetBuffer,
  tcpHeaders,
  writeGso,
} from './offload.ts'
import { HEADROOM, type PlaneContext } from './plane-context.ts'
import type { Told } from './protocol.ts'
import type { Remote } from './remote.ts'
import { wayBack } from './sealing.ts'

const MAX_PACKET = 0xffff
const INNER_AT = HEADROOM - INNER_HEADER

/** Who the frame at START says it is from. */
const sourceOf = (frame: Buffer, start: number): Buffer => frame.subarray(start + SOURCE_AT, start + SOURCE_AT + 16)

/** A copy with memory of its own: to post one that shares it would post all of that. */
const alone = (bytes: Buffer): Buffer => Buffer.from(new Uint8Array(bytes).buffer)

function toldBy(type: typeof STREAM | typeof MESSAGE, payload: Buffer): Told | undefined {
  if (type === STREAM) {
    const piece = decodeStream(payload)
    return piece && { type, piece }
  }
  const piece = decodeMessage(payload)
  return piece && { type, piece }
}

/** What arrives for this node's identities, opened and handed to their ports. */
export function createInbound(context: PlaneContext) {
  const { node, router, intercept, count } = context
  const opened = packetBuffer(HEADROOM + IPV6_HEADER + MAX_PACKET + 1)
  const { bytes } = opened
  let joining: Local = node
  const coalescer = createCoalescer(HEADROOM, (packet, length) => joining.port?.write(packet, HEADROOM, length))

  /** A packet made here, for one of ours; false when it answers a question of our own. */
  function toSelf(local: Local, packet: Buffer): boolean {
    if (local === node && intercept(packet, 0, packet.length)) return false
    packet.copy(bytes, HEADROOM)
    clearVnet(bytes, HEADROOM)
    local.port?.write(opened, HEADROOM, packet.length)
    return true
  }

  /** A packet from another identity of this node. */
  function toNeighbour(to: Local, packet: PacketBuffer, at: number, length: number, offload?: Offload): void {
    const segment = offload?.gsoSize ?? 0
    const headers = tcpHeaders(packet.bytes, at, length)
    if (segment > 0 && headers > 0) writeGso(packet, at, headers, length - IPV6_HEADER, segment)
    else clearVnet(packet.bytes, at)
    to.port?.write(packet, at, length)
  }

  /** The packet at bytes[at]: what it says inside must be what the frame at START said outside. */
  function checkPacket({ identity, port }: Local, frame: Buffer, start: number, at: number, length: number): boolean {
    const own = port?.wholeSubnet ? 8 : 16
    let fault = ''
    if (length < IPV6_HEADER || bytes[at]! >> 4 !== 6 || IPV6_HEADER + bytes.readUInt16BE(at + 4) !== length)
      fault = 'bad-inner-packet'
    // source and destination lie side by side in both headers
    else if (bytes.compare(frame, start + SOURCE_AT, start + SOURCE_AT + 32, at + 8, at + 40) !== 0) fault = 'spoofed'
    else if (bytes.compare(identity.address, 0, own, at + 24, at + 24 + own) !== 0) fault = 'not-here'
    if (fault) count(fault)
    else bytes[at + 7] = frame[start + HOP_LIMIT_AT]!
    return fault === ''
  }

  function packet(local: Local, frame: Buffer, start: number, length: number): void {
    if (!checkPacket(local, frame, start, HEADROOM, length)) return
    if (local !== joining) coalescer.flush()
    joining = local
    if (coalescer.take(bytes, HEADROOM, length)) return
    coalescer.flush()
    if (local === node && intercept(bytes, HEADROOM, length)) return
    clearVnet(bytes, HEADROOM)
    local.port?.write(opened, HEADROOM, length)
  }

  /** A packet the sender's kernel had not cut: the port cuts it. Nothing of its offload header is taken on trust. */
  function largePacket(local: Local, frame: Buffer, start: number, length: number): void {
    const at = HEADROOM + LARGE_HEADER
    const total = length - LARGE_HEADER
    if (total < 0) {
      count('bad-large-packet')
      return
    }
    if (!checkPacket(local, frame, start, at, total)) return
    const headers = tcpHeaders(bytes, at, total)
    const size = bytes.readUInt16BE(HEADROOM)
    if (headers === 0 || size === 0 || headers + size > MTU) {
      count('bad-large-packet')
      return
    }
    coalescer.flush()
    writeGso(opened, at, headers, total - IPV6_HEADER, total - headers > size ? size : 0)
    local.port?.write(opened, at, total)
  }

  function capability(local: Local, remote: Remote, frame: Buffer, start: number, length: number): void {
    const kind = bytes[HEADROOM]
    const largest = bytes.readUInt16BE(HEADROOM + 2)
    const route = router.lookup(remote.subnet, context.now())
    if (length < LARGE_HEADER) count('bad-capability')
    else if (kind === ANSWER) remote.large.answered(largest, context.now())
    else if (kind === ASK && route && context.mayAnswer()) {
      const takes = frame[start + PATH_MARK_AT] === PATH_MARK ? (local.port?.largest ?? 0) : 0
      context.sayCapability(wayBack(local, sourceOf(frame, start), route), ANSWER, takes)
    }
  }

  /** Opens a body this node has sealed for DESTINATION; -1 when it has not. */
  function openOwn(local: Local, destination: Buffer, body: Buffer): number {
    const remote = local.remotes.get(subnetOf(destination))
    const pair = remote?.session?.sealedWith(indexOf(body, 0, body.length))
    if (pair) return pair.openOwn(body, bytes, INNER_AT)
    return remote?.sealing === 'legacy' ? remote.sealer.open(body, 0, body.length, bytes, INNER_AT) : -1
  }

  /** An error about a frame of ours: only who quotes a body that we sealed is believed. */
  function error(local: Local, source: Buffer, payload: Buffer): void {
    const oob = readOob(payload)
    const length = oob ? openOwn(local, oob.destination, oob.body) : -1
    const original = bytes.subarray(HEADROOM, HEADROOM + Math.max(length, 0))
    const own = local.port?.wholeSubnet ? 8 : 16
    // one too large to quote the body does not say which packet it was about: of no use to the kernel
    if (
      !oob?.reporter.equals(source) ||
      length < IPV6_HEADER ||
      bytes[INNER_AT + 1] !== PACKET ||
      original.compare(local.identity.address, 0, own, 8, 8 + own) !== 0
    )
      count('bad-error')
    else if (toSelf(local, icmpError(oob.reporter, Buffer.from(original.subarray(8, 24)), oob.error, original)))
      context.unreached.said(subnetOf(oob.destination), oob.reporter, oob.error)
  }

  /** Taken apart here, where no ffi is: the main thread gets what it says. */
  function toNode(local: Local, remote: Remote, frame: Buffer, start: number, told: Told | undefined): void {
    const at = start + DESTINATION_AT
    const forUs = frame.compare(node.identity.address, 0, 16, at, at + 16) === 0
    if (local !== node || !forUs) count('not-here')
    else if (!told) count('bad-piece')
    else if (!context.message(alone(sourceOf(frame, start)), remote.publicKey.toString('hex'), told))
      count('message-refused')
  }

  /** What was inside the frame at START; the payload lies at bytes[HEADROOM]. Frames are ranges: a packet makes no object. */
  function take(local: Local, remote: Remote, frame: Buffer, start: number, type: number, length: number): void {
    if (type === PACKET) packet(local, frame, start, length)
    else if (type === LARGE) largePacket(local, frame, start, length)
    else if (type === CAPABILITY) capability(local, remote, frame, start, length)
    else if (type === OOB_ICMP)
      error(local, sourceOf(frame, start), Buffer.from(bytes.subarray(HEADROOM, HEADROOM + length)))
    else if (type === MESSAGE || type === STREAM)
      toNode(local, remote, frame, start, toldBy(type, alone(bytes.subarray(HEADROOM, HEADROOM + length))))
    else if (type !== SESSION) count('unknown-inner-type')
  }

  function openSession(local: Local, remote: Remote, pair: Keypair, frame: Buffer, start: number, total: number): void {
    const length = pair.open(frame, start + BODY_AT, total - BODY_AT, bytes, INNER_AT)
    if (length < 0) {
      count(length === REPLAYED ? 'replayed' : 'not-authentic')
      return
    }
    const type = bytes[INNER_AT + 1]!
    remote.session?.received(pair, type !== SESSION, context.now())
    // `received` may have sent what was held for these keys, but through other buffers: BYTES is still this body
    take(local, remote, frame, start, type, length)
  }

  function openLegacy(local: Local, remote: Remote, frame: Buffer, start: number, total: number): void {
    const { session, sealer } = remote
    const now = context.now()
    const length = sealer.open(frame, start + BODY_AT, total - BODY_AT, bytes, INNER_AT)
    const type = bytes[INNER_AT + 1]!
    if (length < 0) {
      count('not-authentic')
      // perhaps sealed under session keys from before we were restarted: agree on new ones
      session?.begin(now, 'others')
    } else if (type === SESSION && !router.lookup(remote.subnet, now)) {
      // after a long silence the route back is forgotten, and the answer to a handshake needs one: look for it first
      awaitRoute(remote.subnet, frame, start, total)
    } else if (type === SESSION) session?.message(Buffer.from(bytes.subarray(HEADROOM, HEADROOM + length)), now)
    else if (remote.mayBeLegacy(now)) take(local, remote, frame, start, type, length)
    else count('downgraded')
  }

  function awaitRoute(subnet: Subnet, frame: Buffer, start: number, length: number): void {
    if (!context.awaits(subnet, frame.subarray(start, start + length))) count('unknown-sender')
  }

  /** A frame for LOCAL, in FRAME[start, start+length). */
  function deliver(local: Local, frame: Buffer, start: number, length: number): void {
    const subnet = subnetOf(frame, start + SOURCE_AT)
    const known = local.remotes.known.get(subnet)
    if (!known && router.lookup(subnet, context.now()) && !context.sealing.mayMeet()) {
      count('too-many-strangers')
      return
    }
    const remote = known ?? local.remotes.get(subnet)
    if (!remote) {
      // the sender's key comes with a route to it
      awaitRoute(subnet, frame, start, length)
      return
    }
    const pair = remote.session?.opening(indexOf(frame, start + BODY_AT, length - BODY_AT), context.now())
    if (pair) openSession(local, remote, pair, frame, start, length)
    else openLegacy(local, remote, frame, start, length)
  }

  return { deliver, toSelf, toNeighbour, flush: coalescer.flush }
}
