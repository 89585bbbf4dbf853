import type { Subnet } from '../address.ts'
import type { Identity } from '../identity.ts'
import type { Router } from '../router/router.ts'
import type { Route } from '../router/types.ts'
import { BODY_AT, DESTINATION_AT, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import { CAPABILITY, PATH_MARK, PATH_MARK_AT } from '../wire/large.ts'
import { INNER_HEADER, SEAL_OVERHEAD } from '../wire/seal.ts'
import type { Connection } from './connection.ts'
import { createFlows } from './flows.ts'
import { createLarge } from './large.ts'
import { createPending } from './pending.ts'
import { createRemotes } from './remotes.ts'

/** Room before a packet for what sealing and the TUN write there. */
export const HEADROOM = 64
/** Upstream's MTU: what a packet may weigh on any path of the public network. */
export const MTU = 1400
/** Errors and answers we send to others per second: they must not serve to flood a third. */
const ANSWERS_PER_SECOND = 200

export type PlaneOptions = {
  identity: Identity
  router: Router
  connection: (id: number) => Connection | undefined
  /** Sees each packet for this node before the kernel does; true takes it. */
  intercept: (packet: Buffer) => boolean
  now: () => number
}

export type PlaneContext = ReturnType<typeof createContext>

export type FrameHead = { source: Buffer; destination: Buffer; hopLimit: number; first: boolean }

/** What the two directions of the data plane share. */
export function createContext(options: PlaneOptions) {
  const { identity, router, connection } = options
  const counters: Record<string, number> = {}
  let answersLeft = ANSWERS_PER_SECOND
  const remotes = createRemotes(identity, (subnet) => {
    const routerId = router.entries.get(subnet)?.selected?.routerId
    return routerId === undefined ? undefined : Buffer.from(routerId.slice(0, 64), 'hex')
  })

  /** A place for a frame of LENGTH bytes to a next hop; -1 (and counted) when there is none. */
  function place(to: Connection, length: number, first: boolean): number {
    const at = to.queue.reserve(length, first)
    if (at < 0) to.stats.dropped++
    return at
  }

  return {
    ...options,
    counters,
    remotes,
    place,
    flows: createFlows(),
    pending: createPending(),
    large: createLarge(),
    /** The TUN's descriptor; -1 while this node only relays. */
    tun: -1,

    count(name: string): void {
      counters[name] = (counters[name] ?? 0) + 1
    },

    /** False when enough was said to others in this second. */
    mayAnswer: (): boolean => answersLeft-- > 0,
    refill(): void {
      answersLeft = ANSWERS_PER_SECOND
    },

    /**
     * Seals BYTES[at, at+length), which has four bytes to spare before it, and queues it to the route's next hop. False
     * when there is no key or connection; a full queue drops.
     */
    sealTo(
      subnet: Subnet,
      route: Route,
      type: number,
      bytes: Buffer,
      at: number,
      length: number,
      head: FrameHead,
    ): boolean {
      const to = connection(route.link)
      const sealer = remotes.sealer(subnet)
      if (!to || !sealer) return false
      const size = BODY_AT + length + SEAL_OVERHEAD
      const start = place(to, size, head.first)
      if (start < 0) return true
      const out = to.queue.bytes
      writeDataHeader(out, start, length + SEAL_OVERHEAD, head.hopLimit)
      head.source.copy(out, start + SOURCE_AT)
      head.destination.copy(out, start + DESTINATION_AT)
      if (type >= CAPABILITY) out[start + PATH_MARK_AT] = PATH_MARK
      sealer.seal(type, bytes, at, length, out, start + BODY_AT)
      to.queue.commit(start, size)
      to.dirty = true
      return true
    },

    /** Says to another node of ours what packets we take, or asks for it. */
    sayCapability(subnet: Subnet, route: Route, kind: number, largest: number, destination: Buffer): void {
      const payload = Buffer.from([0, 0, 0, 0, kind, 0, largest >> 8, largest & 0xff])
      const head = { source: identity.address, destination, hopLimit: 63, first: true }
      this.sealTo(subnet, route, CAPABILITY, payload, INNER_HEADER, payload.length - INNER_HEADER, head)
    },
  }
}
