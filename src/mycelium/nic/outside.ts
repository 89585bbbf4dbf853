import { networkInterfaces } from 'node:os'

/**
 * What no workload reaches through its node, whatever its permission says (IANA's special-purpose addresses): this host and
 * network, private and shared ranges, link-local with the clouds' metadata service, multicast, reserved and broadcast.
 */
const NEVER = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/4',
  '240.0.0.0/4',
]
/** The node's own networks are looked up again after so many milliseconds: addresses come and go. */
const LOOK_EVERY = 5_000

type Range = { first: number; last: number }

export const ipv4Number = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)

function rangeOf(cidr: string): Range {
  const [address, length] = cidr.split('/') as [string, string]
  const size = 2 ** (32 - Number(length))
  const first = Math.floor(ipv4Number(address) / size) * size
  return { first, last: first + size - 1 }
}

const fixed = NEVER.map(rangeOf)
/** The node's addresses and all that is on a link with it: the farmer's LAN, whatever its range. */
const local = (): Range[] =>
  Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses.flatMap((one) => (one.family === 'IPv4' && one.cidr ? [rangeOf(one.cidr)] : [])),
  )

function isIn(ranges: readonly Range[], address: number): boolean {
  const ipv4 = address >>> 0
  for (const { first, last } of ranges) if (ipv4 >= first && ipv4 <= last) return true
  return false
}

/** Tells which IPv4 addresses, signed or not, are outside: neither special nor near this node. LOOK: the ranges that are near. */
export function createOutside(look: () => Range[] = local) {
  let near: Range[] = []
  let lookAt = 0
  return (ipv4: number, now: number): boolean => {
    if (now >= lookAt) {
      lookAt = now + LOOK_EVERY
      near = look()
    }
    return !isIn(fixed, ipv4) && !isIn(near, ipv4)
  }
}
