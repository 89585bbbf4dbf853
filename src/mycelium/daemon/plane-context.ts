import type { Subnet } from '../address.ts'
import type { Identity } from '../identity.ts'
import type { Router } from '../router/router.ts'
import type { LinkId } from '../router/types.ts'
import type { Demand } from '../session/policy.ts'
import { CAPABILITY } from '../wire/large.ts'
import { INNER_HEADER } from '../wire/seal.ts'
import type { Connection } from './connection.ts'
import { createFlows } from './flows.ts'
import { createLocal, type Local } from './local.ts'
import { shareOf } from './out-queue.ts'
import { createPending } from './pending.ts'
import type { Told } from './protocol.ts'
import type { Held } from './remote.ts'
import { createSealing, type Way } from './sealing.ts'
import { createUnreached } from './unreached.ts'

/** Room before a packet for what sealing and the TUN write there. */
export const HEADROOM = 64
/** Errors and answers we send to others per second: they must not serve to flood a third. */
const ANSWERS_PER_SECOND = 200

export type PlaneOptions = {
  /** The node's own: who its errors come from. */
  identity: Identity
  router: Router
  connection: (id: number) => Connection | undefined
  /** Sees each packet for this node before the kernel does; true takes it. */
  intercept: (bytes: Buffer, at: number, length: number) => boolean
  /** How bodies to and from a public key (hex) are to be sealed. */
  demandOf: (publicKey: string) => Demand
  /** Takes what was said to this node itself; false when it cannot. */
  message: (from: Buffer, publicKey: string, told: Told) => boolean
  now: () => number
  /** What whoever runs this node should know: a line about a subject. */
  tell?: (subject: string, line: string) => void
}

export type PlaneContext = ReturnType<typeof createContext>

/** What the two directions of the data plane share. */
export function createContext(options: PlaneOptions) {
  const counters: Record<string, number> = {}
  let answersLeft = ANSWERS_PER_SECOND
  const locals = new Map<Subnet, Local>()
  const count = (name: string): void => {
    counters[name] = (counters[name] ?? 0) + 1
  }

  /** A place for a frame of LENGTH bytes of who is at BYTES[source] to a next hop; -1 (and counted) when there is none. */
  function place(to: Connection, length: number, first: boolean, bytes: Buffer, source: number): number {
    const at = to.queue.reserve(length, first, shareOf(bytes, source))
    if (at < 0) to.stats.dropped++
    return at
  }

  const sealing = createSealing({ ...options, locals, place, count, expired: (held) => context.expired(held) })
  const total = { count: 0 }
  function addLocal(identity: Identity): Local {
    const { publicKeyOf, remoteHooks: hooks } = sealing
    const local = createLocal(identity, { publicKeyOf, demandOf: options.demandOf, hooks, total })
    locals.set(identity.subnet, local)
    return local
  }

  const context = {
    ...options,
    counters,
    count,
    /** The node's own identity, and all identities by subnet. */
    node: addLocal(options.identity),
    locals,
    addLocal,
    place,
    sealing,
    sealTo: sealing.sealTo,
    flows: createFlows(),
    pending: createPending(),
    /** The link over which the frame came that is looked at; undefined for what is of this node. */
    from: undefined as LinkId | undefined,
    unreached: createUnreached(options.now, options.tell ?? (() => {})),
    /** What waited in vain for a session; whoever can answer it takes this over. */
    expired: (_held: Held): void => {},

    /** Keeps a frame until there is a route to SUBNET, which is looked for; false when too much is and waits. */
    awaits(subnet: Subnet, frame: Buffer): boolean {
      const { from } = context
      const host = from === undefined ? '' : (options.router.links.get(from)?.host ?? '')
      return options.router.want(subnet, options.now(), from) && context.pending.putFrame(subnet, frame, host)
    },

    /** False when enough was said to others in this second. */
    mayAnswer: (): boolean => answersLeft-- > 0,
    refill(): void {
      answersLeft = ANSWERS_PER_SECOND
    },

    /** Says to another node of ours what packets we take, or asks for it. */
    sayCapability(way: Way, kind: number, largest: number): void {
      const payload = Buffer.from([0, 0, 0, 0, kind, 0, largest >> 8, largest & 0xff])
      const own: Way = { ...way, hopLimit: 63, first: true }
      sealing.sealTo(own, CAPABILITY, payload, INNER_HEADER, payload.length - INNER_HEADER)
    },
  }
  return context
}
