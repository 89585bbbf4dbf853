import { type Subnet, subnetOf } from '../address.ts'
import type { Identity } from '../identity.ts'
import type { Router } from '../router/router.ts'
import type { Route } from '../router/types.ts'
import { KEEPALIVE, SESSION } from '../session/handshake.ts'
import type { Keypair } from '../session/keypair.ts'
import { BODY_AT, MTU, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import { CAPABILITY, PATH_MARK, PATH_MARK_AT } from '../wire/large.ts'
import { INNER_HEADER, SEAL_OVERHEAD, type Sealer } from '../wire/seal.ts'
import type { Connection } from './connection.ts'
import type { Local } from './local.ts'
import type { Held, Remote, RemoteHooks } from './remote.ts'

const ADDRESSES = 32
const HELD_BYTES = 4 << 20
/**
 * Handshakes begun and answered, those that we need and those that others cause each; and how many of whom nothing was known are
 * looked at because a frame says that it is theirs: each is some hundred microseconds of arithmetic, and keys can be made up.
 */
const HANDSHAKES_PER_SECOND = 200
const STRANGERS_PER_SECOND = 200

/** Where a body goes and in whose name. */
export type Way = {
  local: Local
  subnet: Subnet
  route: Route
  /** Source, an address of the local, and destination, an address of the subnet: 32 bytes at `addressesAt`. */
  addresses: Buffer
  addressesAt: number
  hopLimit: number
  /** Before bulk: it belongs to a quiet flow or is ours. */
  first: boolean
}

export type SealingOptions = {
  router: Router
  locals: ReadonlyMap<Subnet, Local>
  connection: (id: number) => Connection | undefined
  /** A place in a next hop's queue; -1 when there is none. */
  place: (to: Connection, length: number, first: boolean, bytes: Buffer, source: number) => number
  count: (name: string) => void
  now: () => number
  /** A body waited in vain for a session. */
  expired: (held: Held) => void
}

/** Seals bodies with what each remote is due, holds those whose keys are being agreed on, and speaks the handshakes. */
export function createSealing({ router, locals, connection, place, count, now, expired }: SealingOptions) {
  let heldBytes = 0
  const handshakesLeft = { us: HANDSHAKES_PER_SECOND, others: HANDSHAKES_PER_SECOND }
  let strangersLeft = STRANGERS_PER_SECOND
  /** Those that hold something or wait for an answer. */
  const impatient = new Set<Remote>()

  function put(way: Way, sealer: Keypair | Sealer, type: number, bytes: Buffer, at: number, length: number): boolean {
    const to = connection(way.route.link)
    if (!to) return false
    const size = BODY_AT + length + SEAL_OVERHEAD
    const start = place(to, size, way.first, way.addresses, way.addressesAt)
    if (start < 0) return true
    const out = to.queue.bytes
    writeDataHeader(out, start, length + SEAL_OVERHEAD, way.hopLimit)
    way.addresses.copy(out, start + SOURCE_AT, way.addressesAt, way.addressesAt + ADDRESSES)
    // others' paths need not carry it
    if (type >= CAPABILITY || length > MTU) out[start + PATH_MARK_AT] = PATH_MARK
    sealer.seal(type, bytes, at, length, out, start + BODY_AT)
    to.queue.commit(start, size)
    to.queued(way.first)
    return true
  }

  /** One of our own messages, with room for the inner header. */
  function putOwn(remote: Remote, local: Local, sealer: Keypair | Sealer, payload: Buffer): void {
    const { subnet } = remote
    const route = router.lookup(subnet, now())
    if (!route) {
      // lost; it is said again, and finds a route then
      router.want(subnet, now())
      return
    }
    const bytes = Buffer.concat([Buffer.alloc(INNER_HEADER), payload])
    const way = ownWay(local, remote.address, subnet, route)
    put(way, sealer, SESSION, bytes, INNER_HEADER, payload.length)
  }

  /**
   * Seals BYTES[at, at+length), which has four bytes to spare before it, and queues it to the way's next hop; held for a
   * moment while a session is being made. False when there is no key or connection; a full queue drops.
   */
  function sealTo(way: Way, type: number, bytes: Buffer, at: number, length: number): boolean {
    const remote = way.local.remotes.get(way.subnet)
    if (!remote) return false
    const sealer = remote.sealWith(now())
    if (sealer) return put(way, sealer, type, bytes, at, length)
    const payload = Buffer.allocUnsafeSlow(INNER_HEADER + length)
    bytes.copy(payload, INNER_HEADER, at, at + length)
    const addresses = Buffer.from(way.addresses.subarray(way.addressesAt, way.addressesAt + ADDRESSES))
    const one = { way: { ...way, addresses, addressesAt: 0 }, type, payload }
    if (heldBytes + length > HELD_BYTES || !remote.hold(one, now())) count('held-full')
    else heldBytes += length
    impatient.add(remote)
    return true
  }

  const forget = (held: Held): void => {
    heldBytes -= held.payload.length - INNER_HEADER
  }

  function release(remote: Remote): void {
    for (const one of remote.held.splice(0)) {
      forget(one)
      const route = router.lookup(remote.subnet, now())
      const { length } = one.payload
      if (route) sealTo({ ...one.way, route }, one.type, one.payload, INNER_HEADER, length - INNER_HEADER)
    }
  }

  function remoteHooks({ subnet }: Identity): RemoteHooks {
    const say = (remote: Remote, sealer: Keypair | Sealer, payload: Buffer) => {
      const local = locals.get(subnet)
      if (local) putOwn(remote, local, sealer, payload)
    }
    return {
      say(remote, payload) {
        impatient.add(remote)
        say(remote, remote.sealer, payload)
      },
      keepalive: (remote, pair) => say(remote, pair, KEEPALIVE),
      release,
      expired(held) {
        forget(held)
        expired(held)
      },
      mayHandshake: (whom) => handshakesLeft[whom]-- > 0,
      count,
      now,
    }
  }

  return {
    sealTo,
    remoteHooks,
    /** Whether one more stranger may be looked at in this second. */
    mayMeet: (): boolean => strangersLeft-- > 0,
    /** True while somebody waits for an answer: `tickImpatient` is due several times a second then. */
    get isImpatient(): boolean {
      return impatient.size > 0
    },
    tickImpatient(): void {
      const time = now()
      for (const remote of impatient) {
        remote.tick(time)
        if (remote.held.length === 0 && remote.session?.pendingSince === undefined) impatient.delete(remote)
      }
    },
    /** Once a second. */
    tick(): void {
      handshakesLeft.us = HANDSHAKES_PER_SECOND
      handshakesLeft.others = HANDSHAKES_PER_SECOND
      strangersLeft = STRANGERS_PER_SECOND
      const time = now()
      for (const local of locals.values()) for (const remote of local.remotes.known.values()) remote.tick(time)
    },
    publicKeyOf(subnet: Subnet): Buffer | undefined {
      const routerId = router.entries.get(subnet)?.selected?.routerId
      return routerId === undefined ? undefined : Buffer.from(routerId.slice(0, 64), 'hex')
    },
  }
}

/** For what this node itself says to DESTINATION. */
export function ownWay(local: Local, destination: Buffer, subnet: Subnet, route: Route): Way {
  const addresses = Buffer.concat([local.identity.address, destination])
  return { local, subnet, route, addresses, addressesAt: 0, hopLimit: 63, first: true }
}

/** Back to SOURCE, whose frame has come. */
export const wayBack = (local: Local, source: Buffer, route: Route): Way =>
  ownWay(local, source, subnetOf(source), route)
