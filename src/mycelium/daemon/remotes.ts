import type { Subnet } from '../address.ts'
import { type Identity, sharedSecret } from '../identity.ts'
import { Sealer } from '../wire/seal.ts'

/** Keys kept for one identity; the oldest goes first. */
const LIMIT = 1024

export type Remotes = ReturnType<typeof createRemotes>

/** The keys shared with other nodes, by their subnet. A subnet is the hash of its key, so what was learnt stays true. */
export function createRemotes(identity: Identity, publicKeyOf: (subnet: Subnet) => Buffer | undefined) {
  const known = new Map<Subnet, Sealer>()
  const refused = new Set<Subnet>()
  return {
    /** Undefined while no route has told the key, or when the key is unusable. */
    sealer(subnet: Subnet): Sealer | undefined {
      const found = known.get(subnet)
      if (found || refused.has(subnet)) return found
      const publicKey = publicKeyOf(subnet)
      if (!publicKey) return undefined
      const secret = sharedSecret(identity, publicKey)
      if (!secret) {
        if (refused.size < LIMIT) refused.add(subnet)
        return undefined
      }
      const sealer = new Sealer(secret)
      known.set(subnet, sealer)
      if (known.size > LIMIT) {
        const [oldest, old] = known.entries().next().value!
        known.delete(oldest)
        old[Symbol.dispose]()
      }
      return sealer
    },
    [Symbol.dispose](): void {
      for (const sealer of known.values()) sealer[Symbol.dispose]()
      known.clear()
    },
  }
}
