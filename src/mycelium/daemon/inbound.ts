import { writeFd } from '#sys'
import { subnetOf } from '../address.ts'
import { BODY_AT, HOP_LIMIT_AT, SOURCE_AT } from '../wire/frame.ts'
import { IPV6_HEADER, icmpError, readOob } from '../wire/icmp.ts'
import { ANSWER, ASK, CAPABILITY, LARGE, LARGE_HEADER, LARGEST, PATH_MARK, PATH_MARK_AT } from '../wire/large.ts'
import { INNER_HEADER, OOB_ICMP, PACKET } from '../wire/seal.ts'
import { clearVnet, createCoalescer, packetBuffer, tcpHeaders, VNET_HEADER, writeGso } from './offload.ts'
import { HEADROOM, MTU, type PlaneContext } from './plane-context.ts'

const MAX_PACKET = 0xffff
const INNER_AT = HEADROOM - INNER_HEADER

/** Frames for this machine, opened and handed to its kernel. */
export function createInbound(context: PlaneContext) {
  const { identity, router, remotes, pending, large, intercept, count } = context
  const opened = packetBuffer(HEADROOM + IPV6_HEADER + MAX_PACKET + 1)
  const { bytes } = opened
  const coalescer = createCoalescer(HEADROOM, (packet, length) => toTun(packet.bytes, HEADROOM, length))

  /** The ten bytes before AT say how the kernel is to treat it. */
  function toTun(packet: Buffer, at: number, length: number): void {
    if (context.tun < 0) return
    const n = writeFd(context.tun, packet, at - VNET_HEADER, length + VNET_HEADER)
    if (n < 0) count('tun-refused')
  }

  /** A packet made here, for this machine. */
  function toSelf(packet: Buffer): void {
    if (intercept(packet)) return
    packet.copy(bytes, HEADROOM)
    clearVnet(bytes, HEADROOM)
    toTun(bytes, HEADROOM, packet.length)
  }

  /** The packet at bytes[at]: what it says inside must be what the frame said outside. */
  function checkPacket(frame: Buffer, at: number, length: number): boolean {
    let fault = ''
    if (length < IPV6_HEADER || bytes[at]! >> 4 !== 6 || IPV6_HEADER + bytes.readUInt16BE(at + 4) !== length)
      fault = 'bad-inner-packet'
    // source and destination lie side by side in both headers
    else if (bytes.compare(frame, SOURCE_AT, SOURCE_AT + 32, at + 8, at + 40) !== 0) fault = 'spoofed'
    else if (bytes.compare(identity.address, 0, 16, at + 24, at + 40) !== 0) fault = 'not-here'
    if (fault) count(fault)
    else bytes[at + 7] = frame[HOP_LIMIT_AT]!
    return fault === ''
  }

  function packet(frame: Buffer, length: number): void {
    if (!checkPacket(frame, HEADROOM, length)) return
    if (coalescer.take(bytes, HEADROOM, length)) return
    coalescer.flush()
    if (intercept(bytes.subarray(HEADROOM, HEADROOM + length))) return
    clearVnet(bytes, HEADROOM)
    toTun(bytes, HEADROOM, length)
  }

  /** A packet the sender's kernel had not cut: ours cuts it. Nothing of its offload header is taken on trust. */
  function largePacket(frame: Buffer, length: number): void {
    const at = HEADROOM + LARGE_HEADER
    const total = length - LARGE_HEADER
    if (total < 0 || !checkPacket(frame, at, total)) return
    const headers = tcpHeaders(bytes, at, total)
    const size = bytes.readUInt16BE(HEADROOM)
    if (headers === 0 || size === 0 || headers + size > MTU) {
      count('bad-large-packet')
      return
    }
    coalescer.flush()
    writeGso(opened, at, headers, total - IPV6_HEADER, total - headers > size ? size : 0)
    toTun(bytes, at, total)
  }

  function capability(frame: Buffer, subnet: string, length: number): void {
    const kind = bytes[HEADROOM]
    const largest = bytes.readUInt16BE(HEADROOM + 2)
    const route = router.lookup(subnet, context.now())
    if (length < LARGE_HEADER) count('bad-capability')
    else if (kind === ANSWER) large.answered(subnet, largest, context.now())
    else if (kind === ASK && route && context.mayAnswer()) {
      const whole = frame[PATH_MARK_AT] === PATH_MARK && context.tun >= 0
      const asker = Buffer.from(frame.subarray(SOURCE_AT, SOURCE_AT + 16))
      context.sayCapability(subnet, route, ANSWER, whole ? LARGEST : 0, asker)
    }
  }

  /** An error about a frame we sent: only who quotes a body that we sealed is believed. */
  function error(frame: Buffer, payload: Buffer): void {
    const oob = readOob(payload)
    const sealer = oob && remotes.sealer(subnetOf(oob.destination))
    const length = sealer?.open(oob!.body, 0, oob!.body.length, bytes, INNER_AT) ?? -1
    const original = bytes.subarray(HEADROOM, HEADROOM + Math.max(length, 0))
    // one too large to quote the body does not say which packet it was about: of no use to the kernel
    if (
      !oob?.reporter.equals(frame.subarray(SOURCE_AT, SOURCE_AT + 16)) ||
      length < IPV6_HEADER ||
      bytes[INNER_AT + 1] !== PACKET ||
      original.compare(identity.address, 0, 16, 8, 24) !== 0
    )
      count('bad-error')
    else toSelf(icmpError(oob.reporter, identity.address, oob.error, original))
  }

  function deliver(frame: Buffer): void {
    const subnet = subnetOf(frame, SOURCE_AT)
    const sealer = remotes.sealer(subnet)
    if (!sealer) {
      // the sender's key comes with a route to it
      if (!router.want(subnet, context.now()) || !pending.putFrame(subnet, frame)) count('unknown-sender')
      return
    }
    const length = sealer.open(frame, BODY_AT, frame.length - BODY_AT, bytes, INNER_AT)
    const type = length < 0 ? -1 : bytes[INNER_AT + 1]
    if (type === -1) count('not-authentic')
    else if (type === PACKET) packet(frame, length)
    else if (type === LARGE) largePacket(frame, length)
    else if (type === CAPABILITY) capability(frame, subnet, length)
    else if (type === OOB_ICMP) error(frame, Buffer.from(bytes.subarray(HEADROOM, HEADROOM + length)))
    else count('unknown-inner-type')
  }

  return { deliver, toSelf, flush: coalescer.flush }
}
