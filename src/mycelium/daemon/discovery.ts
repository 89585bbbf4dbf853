import { createSocket, type Socket } from 'node:dgram'
import { accessSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { reasonOf } from '#codec'
import { ipv6Bytes } from '#sys'
import { BEACON, type Beacon, KEY_AT, LINK_LOCAL, MAGIC } from './beacon.ts'

/** Upstream's group and port. */
const GROUP = 'ff02::cafe'
const PORT = 9650
const BEACON_EVERY = 60_000
/**
 * Milliseconds between two looks for local links, which may come up late. A new link gets our beacon at once and again at the
 * next looks: the first one may fail (the kernel is still checking that nobody else has our address) or get lost.
 */
const LOOK_EVERY = 5_000
const FIRST_BEACONS = 3
/** Bytes of the longest datagram that is handed on to the packet thread, and how many may be on their way there. */
const LONGEST = 2 * BEACON
const UNDER_WAY = 64
/** linux/if.h */
const IFF_MULTICAST = 0x1000

type Link = { name: string; scope: number }
/** `told`: beacons that left since it was entered. */
type Joined = Link & { told: number }

export type DiscoveryOptions = {
  publicKey: Buffer
  /** Where we listen for peers on every link; undefined: we only look for others. */
  port: number | undefined
  /** Takes what may be a beacon; resolves once it was looked at. */
  heard: (one: Beacon) => Promise<void>
}

/** Interfaces others can be on: with a link-local address and multicast, and no overlay's own. */
function links(): Link[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) => {
    const own = addresses.find((one) => one.family === 'IPv6' && ipv6Bytes(one.address)?.indexOf(LINK_LOCAL) === 0)
    return own?.family === 'IPv6' && !own.internal && mayCarry(name) ? [{ name, scope: own.scopeid ?? 0 }] : []
  })
}

function mayCarry(name: string): boolean {
  const folder = join('/sys/class/net', name)
  try {
    if (!(Number(readFileSync(join(folder, 'flags'), 'utf8')) & IFF_MULTICAST)) return false
  } catch {
    return false
  }
  try {
    accessSync(join(folder, 'tun_flags'))
    return false
  } catch {
    return true
  }
}

export type Discovery = AsyncDisposable & { status: () => string[] }

/** Tells the local links of this node and hears of others there; never throws: without it peers are named. */
export function startDiscovery({ publicKey, port, heard }: DiscoveryOptions): Discovery {
  const socket: Socket = createSocket({ type: 'udp6', reuseAddr: true })
  const joined = new Map<string, Joined>()
  let failure = 'starting'
  let timer: NodeJS.Timeout | undefined
  let beaconAt = 0
  let underWay = 0
  const beacon = Buffer.alloc(BEACON)
  MAGIC.copy(beacon)
  beacon.writeUInt16BE(port ?? 0, MAGIC.length)
  publicKey.copy(beacon, KEY_AT)

  function tell(link: Joined): void {
    if (port === undefined) return
    socket.send(beacon, PORT, `${GROUP}%${link.name}`, (error) => {
      if (!error) link.told++
    })
  }

  function enter({ name, scope }: Link): void {
    const on = `::%${name}`
    try {
      // one that was down and is back: the socket is a member there still, of what the kernel may have let go
      socket.dropMembership(GROUP, on)
    } catch {
      // it never was
    }
    try {
      socket.addMembership(GROUP, on)
      failure = ''
    } catch (error) {
      failure = `"${name}": ${reasonOf(error)}`
      return
    }
    const link = { name, scope, told: 0 }
    joined.set(name, link)
    tell(link)
  }

  function look(): void {
    const there = links()
    for (const [name, { scope }] of joined)
      if (!there.some((link) => link.name === name && link.scope === scope)) joined.delete(name)
    const now = performance.now()
    const isDue = now >= beaconAt
    if (isDue) beaconAt = now + BEACON_EVERY
    for (const link of joined.values()) if (isDue || link.told < FIRST_BEACONS) tell(link)
    for (const link of there) if (!joined.has(link.name)) enter(link)
  }

  socket.on('error', (error) => {
    failure = reasonOf(error)
  })
  socket.on('message', (bytes, from) => {
    const [ip, zone] = from.address.split('%') as [string, string?]
    const scope = zone === undefined ? undefined : joined.get(zone)?.scope
    if (zone === undefined || scope === undefined || bytes.length > LONGEST || underWay >= UNDER_WAY) return
    underWay++
    // a copy of its own: posting a view posts all that it is a part of
    void heard({ bytes: new Uint8Array(bytes), ip, zone, scope }).finally(() => {
      underWay--
    })
  })
  socket.bind(PORT, '::', () => {
    failure = ''
    socket.setMulticastLoopback(false)
    look()
    timer = setInterval(look, LOOK_EVERY)
    timer.unref()
  })
  socket.unref()

  return {
    /** The links it is on; or why it is on none. */
    status: () => (joined.size > 0 || failure === '' ? [...joined.keys()] : [`off: ${failure}`]),
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await new Promise<void>((resolve) => socket.close(() => resolve()))
    },
  }
}
