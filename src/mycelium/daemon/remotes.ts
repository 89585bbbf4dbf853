import type { Subnet } from '../address.ts'
import { type Identity, sharedSecret } from '../identity.ts'
import type { Demand } from '../session/policy.ts'
import { createRemote, type Remote, type RemoteHooks } from './remote.ts'

/** Others known to one identity; and to all together, after which whoever adds one gives up one of its own. */
const LIMIT = 1024
const ALL = 8192
const REFUSED = 1024

export type Remotes = ReturnType<typeof createRemotes>

export type RemotesOptions = {
  publicKeyOf: (subnet: Subnet) => Buffer | undefined
  demandOf: (publicKey: string) => Demand
  hooks: (identity: Identity) => RemoteHooks
  /** Counts those of all identities. */
  total: { count: number }
}

/** The other nodes an identity speaks with, by subnet. A subnet is the hash of its key: what was learnt stays true. */
export function createRemotes(identity: Identity, { publicKeyOf, demandOf, hooks, total }: RemotesOptions) {
  const known = new Map<Subnet, Remote>()
  const refused = new Set<Subnet>()
  const own = hooks(identity)

  function forget(remote: Remote): void {
    known.delete(remote.subnet)
    total.count--
    remote[Symbol.dispose]()
  }

  /** Who has no session goes first: keys can be made up, and frames sent in their name, by anybody. */
  function leastUseful(): Remote {
    for (const remote of known.values()) if (!remote.session?.isUp) return remote
    return known.values().next().value!
  }

  return {
    known: known as ReadonlyMap<Subnet, Remote>,

    /** Undefined while no route has told the key, or when the key is unusable. */
    get(subnet: Subnet): Remote | undefined {
      const found = known.get(subnet)
      if (found || refused.has(subnet)) return found
      const publicKey = publicKeyOf(subnet)
      if (!publicKey) return undefined
      const secret = sharedSecret(identity, publicKey)
      if (!secret) {
        if (refused.size < REFUSED) refused.add(subnet)
        return undefined
      }
      if (known.size >= LIMIT || (total.count >= ALL && known.size > 0)) forget(leastUseful())
      const remote = createRemote(identity, publicKey, secret, demandOf(publicKey.toString('hex')), own)
      known.set(subnet, remote)
      total.count++
      return remote
    },

    /** Begins anew with WHOM, by public key in hex. */
    beginAnew(whom: (publicKey: string) => boolean): void {
      for (const remote of known.values()) if (whom(remote.publicKey.toString('hex'))) forget(remote)
    },
    [Symbol.dispose](): void {
      for (const remote of known.values()) forget(remote)
    },
  }
}
