import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { accessSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { reasonOf } from '#codec'
import { ipv6Bytes } from '#sys'
import type { Endpoint } from '../endpoint.ts'

/** Upstream's group and port; a beacon is "mycelium" | TCP port u16 | router id[40]. */
const GROUP = 'ff02::cafe'
const PORT = 9650
const MAGIC = Buffer.from('mycelium')
const BEACON = 50
const KEY_AT = 10
const BEACON_EVERY = 60_000
/**
 * Links come up late: they are looked for this often, and told of us at once and again at the next looks, as a first beacon may
 * fail (the kernel is still asking whether anybody has our address) or get lost.
 */
const LOOK_EVERY = 5_000
const FIRST_BEACONS = 3
/** Of two that find each other the one with the smaller key dials, the other only if it does not. Milliseconds. */
const POLITE = 2_000
const FAMILY_PREFIX = Buffer.from('fe80000000000000', 'hex')
/** linux/if.h */
const IFF_MULTICAST = 0x1000

type Link = { name: string; scope: number }
/** `told`: beacons that left since it was entered. */
type Joined = Link & { told: number }
export type Found = { endpoint: Endpoint; delay: number }

export type DiscoveryOptions = {
  publicKey: Buffer
  /** Where we listen for peers on every link; undefined: we only look for others. */
  port: number | undefined
  scheme: Endpoint['scheme']
  found: (one: Found) => void
}

/** Interfaces others can be on: with a link-local address and multicast, and no overlay's own. */
function links(): Link[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) => {
    const own = addresses.find((one) => one.family === 'IPv6' && ipv6Bytes(one.address)?.indexOf(FAMILY_PREFIX) === 0)
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

/** The node a beacon speaks of; undefined for what is none, or our own. Who sent it may lie about all but its address. */
export function readBeacon(
  bytes: Buffer,
  from: RemoteInfo,
  own: Buffer,
): { ip: string; zone: string; port: number; delay: number } | undefined {
  const [ip, zone] = from.address.split('%') as [string, string?]
  if (zone === undefined || ipv6Bytes(ip)?.indexOf(FAMILY_PREFIX) !== 0) return undefined
  if (bytes.length !== BEACON || bytes.indexOf(MAGIC) !== 0) return undefined
  const key = bytes.subarray(KEY_AT, KEY_AT + 32)
  const port = bytes.readUInt16BE(MAGIC.length)
  if (port === 0 || key.equals(own)) return undefined
  return { ip, zone, port, delay: own.compare(key) < 0 ? 0 : POLITE }
}

export type Discovery = AsyncDisposable & { status: () => string[] }

/** Tells the local links of this node and hears of others there; never throws: without it peers are named. */
export function startDiscovery({ publicKey, port, scheme, found }: DiscoveryOptions): Discovery {
  const socket: Socket = createSocket({ type: 'udp6', reuseAddr: true })
  const joined = new Map<string, Joined>()
  let failure = 'starting'
  let timer: NodeJS.Timeout | undefined
  let beaconAt = 0
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
    try {
      socket.addMembership(GROUP, `::%${name}`)
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
    const heard = readBeacon(bytes, from, publicKey)
    const scope = heard && joined.get(heard.zone)?.scope
    if (!heard || scope === undefined) return
    const { ip, zone, delay } = heard
    found({ endpoint: { scheme, ip, port: heard.port, zone, scope }, delay })
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
