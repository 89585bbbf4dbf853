import { addressOf, type Subnet, subnetOf } from '../address.ts'
import type { RouterId } from '../wire/control.ts'

const KNOWN_OWNERS = 65_536

/** A public key may announce the /64 of its own address and nothing else. Hashing is remembered. */
export function ownership(): (routerId: RouterId, subnet: Subnet) => boolean {
  const known = new Map<string, Subnet>()
  return (routerId, subnet) => {
    const key = routerId.slice(0, 64)
    let owned = known.get(key)
    if (owned === undefined) {
      owned = subnetOf(addressOf(Buffer.from(key, 'hex')))
      if (known.size >= KNOWN_OWNERS) known.clear()
      known.set(key, owned)
    }
    return owned === subnet
  }
}
