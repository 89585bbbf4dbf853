import { IPV4_GATEWAY, type NicNetwork } from './network.ts'
import type { Mapping } from './translate.ts'

/** The address that stands for the number IPV4 in the /64 ADDRESS begins with. */
function standingFor(address: Uint8Array, ipv4: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.set(address.subarray(0, 8))
  bytes.writeUInt32BE(ipv4, 12)
  return bytes
}

/** Which address stands for which in the card at ADDRESS; undefined for one without an IPv4 address. */
export function mappingOf({ members }: NicNetwork, address: Uint8Array): Mapping | undefined {
  const own = members.find((m) => Buffer.compare(m.address, address) === 0)?.ipv4
  if (own === undefined) return undefined
  const byIpv4 = new Map([[IPV4_GATEWAY, standingFor(address, IPV4_GATEWAY)]])
  for (const { address: of, ipv4 } of members) if (ipv4 !== undefined) byIpv4.set(ipv4, standingFor(of, ipv4))
  return {
    own,
    toIpv6: (ipv4) => byIpv4.get(ipv4),
    toIpv4(bytes, at) {
      const ipv4 = bytes.readUInt32BE(at + 12)
      const found = byIpv4.get(ipv4)
      return found && bytes.compare(found, 0, 16, at, at + 16) === 0 ? ipv4 : undefined
    },
  }
}
