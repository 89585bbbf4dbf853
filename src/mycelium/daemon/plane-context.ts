import type { Subnet } from '../address.ts'
import type { Identity } from '../identity.ts'
import type { Router } from '../router/router.ts'
import type { Route } from '../router/types.ts'
import { BODY_AT, DESTINATION_AT, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import { CAPABILITY, PATH_MARK, PATH_MARK_AT } from '../wire/large.ts'
import { INNER_HEADER, SEAL_OVERHEAD } from '../wire/seal.ts'
import type { Connection } from './connection.ts'
import { createFlows } from './flows.ts'
import { createLocal, type Local } from './local.ts'
import { createPending } from './pending.ts'

/** Room before a packet for what sealing and the TUN write there. */
export const HEADROOM = 64
/** Upstream's MTU: what a packet may weigh on any path of the public network. */
export const MTU = 1400
/** Errors and answers we send to others per second: they must not serve to flood a third. */
const ANSWERS_PER_SECOND = 200

export type PlaneOptions = {
  /** The node's own: who its errors come from. */
  identity: Identity
  router: Router
  connection: (id: number) => Connection | undefined
  /** Sees each packet for this node before the kernel does; true takes it. */
  intercept: (packet: Buffer) => boolean
  now: () => number
}

export type PlaneContext = ReturnType<typeof createContext>

/** Where a body goes and in whose name: `source` is an address of the local, `subnet` that of the destination. */
export type Way = {
  local: Local
  subnet: Subnet
  route: Route
  source: Buffer
  destination: Buffer
  hopLimit: number
  /** Before bulk: it belongs to a quiet flow or is ours. */
  first: boolean
}

/** What the two directions of the data plane share. */
export function createContext(options: PlaneOptions) {
  const { identity, router, connection } = options
  const counters: Record<string, number> = {}
  let answersLeft = ANSWERS_PER_SECOND
  const node = createLocal(identity, router)
  const locals = new Map<Subnet, Local>([[identity.subnet, node]])

  /** A place for a frame of LENGTH bytes to a next hop; -1 (and counted) when there is none. */
  function place(to: Connection, length: number, first: boolean): number {
    const at = to.queue.reserve(length, first)
    if (at < 0) to.stats.dropped++
    return at
  }

  return {
    ...options,
    counters,
    /** The node's own identity, and all identities by subnet. */
    node,
    locals,
    place,
    flows: createFlows(),
    pending: createPending(),

    count(name: string): void {
      counters[name] = (counters[name] ?? 0) + 1
    },

    /** False when enough was said to others in this second. */
    mayAnswer: (): boolean => answersLeft-- > 0,
    refill(): void {
      answersLeft = ANSWERS_PER_SECOND
    },

    /**
     * Seals BYTES[at, at+length), which has four bytes to spare before it, and queues it to the way's next hop. False
     * when there is no key or connection; a full queue drops.
     */
    sealTo(way: Way, type: number, bytes: Buffer, at: number, length: number): boolean {
      const to = connection(way.route.link)
      const sealer = way.local.remotes.sealer(way.subnet)
      if (!to || !sealer) return false
      const size = BODY_AT + length + SEAL_OVERHEAD
      const start = place(to, size, way.first)
      if (start < 0) return true
      const out = to.queue.bytes
      writeDataHeader(out, start, length + SEAL_OVERHEAD, way.hopLimit)
      way.source.copy(out, start + SOURCE_AT)
      way.destination.copy(out, start + DESTINATION_AT)
      // others' paths need not carry it
      if (type >= CAPABILITY || length > MTU) out[start + PATH_MARK_AT] = PATH_MARK
      sealer.seal(type, bytes, at, length, out, start + BODY_AT)
      to.queue.commit(start, size)
      to.dirty = true
      return true
    },

    /** Says to another node of ours what packets we take, or asks for it. */
    sayCapability(way: Way, kind: number, largest: number): void {
      const payload = Buffer.from([0, 0, 0, 0, kind, 0, largest >> 8, largest & 0xff])
      const own: Way = { ...way, hopLimit: 63, first: true }
      this.sealTo(own, CAPABILITY, payload, INNER_HEADER, payload.length - INNER_HEADER)
    },
  }
}
