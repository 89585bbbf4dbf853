import { isOverlay } from '../address.ts'
import type { Port } from '../daemon/local.ts'
import { type Offload, type PacketBuffer, packetBuffer } from '../daemon/offload.ts'
import { HEADROOM } from '../daemon/plane-context.ts'
import type { PortHooks } from '../daemon/ports.ts'
import { adminProhibited, icmpError, isIcmpError } from '../wire/icmp.ts'
import { REFUSED } from './dns.ts'
import { createFirewall } from './firewall.ts'
import { createGateway } from './gateway.ts'
import { gatewayOf, type NicNetwork } from './network.ts'

const DESTINATION = 24

/**
 * A person's machine as part of NETWORK: its port (as OPEN makes it) under the same firewall as a workload's card, with
 * the names of the network at `PREFIX::1`. Questions for other names are refused, so that resolvers ask elsewhere.
 */
export function guarded(network: NicNetwork, hooks: PortHooks, open: (hooks: PortHooks) => Port): Port {
  const { identity, reactor, count, send } = hooks
  const firewall = createFirewall(network, Number.NEGATIVE_INFINITY)
  const gateway = gatewayOf(identity.address)
  let ours = createGateway(network, { elsewhere: REFUSED })

  /** A packet made here, for this machine's kernel. */
  function made(packet: Buffer): void {
    const copy = packetBuffer(HEADROOM + packet.length + 1)
    copy.bytes.fill(0)
    packet.copy(copy.bytes, HEADROOM)
    port.write(copy, HEADROOM, packet.length)
  }

  function fromKernel(packet: PacketBuffer, at: number, length: number, offload?: Offload): void {
    const { bytes } = packet
    // multicast and the like: of no network
    if (!isOverlay(bytes[at + DESTINATION]!)) {
      count('not-overlay')
      return
    }
    if (bytes.compare(gateway, 0, 16, at + DESTINATION, at + DESTINATION + 16) === 0) {
      const answer = ours.answer(bytes, at, length)
      if (answer) made(answer)
      return
    }
    const verdict = firewall.out(bytes, at, length, reactor.now)
    if (verdict === '') {
      send(packet, at, length, offload)
      return
    }
    count(verdict)
    const refused = bytes.subarray(at, at + length)
    if (!isIcmpError(refused)) made(icmpError(gateway, refused.subarray(8, 24), adminProhibited, refused))
  }

  const port = open({ ...hooks, send: fromKernel })
  return {
    ...port,
    write(packet, at, length) {
      const verdict = firewall.in(packet.bytes, at, length, reactor.now)
      if (verdict === '') port.write(packet, at, length)
      else count(verdict)
    },
    reform(now) {
      firewall.reform(now)
      ours = createGateway(now, { elsewhere: REFUSED })
    },
  }
}
