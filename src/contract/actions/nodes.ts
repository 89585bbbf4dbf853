import { canonicalJson } from '#codec'
import { parseSignature, signatureToCompactSignature, stringToHex } from '#npm'
import type { Key } from '../keys/keys.ts'
import { countryHex, countryOf, digestOf } from '../typed/digest.ts'
import { type Beat, type Registration, type Resources, registrationSchema } from '../typed/schema.ts'
import { type Grid, view } from './grid.ts'
import { events } from './logs.ts'
import { type Relayer, write } from './relayer.ts'

type Hex = `0x${string}`

export type Node = {
  id: number
  farm: number
  key: Hex
  seal: Hex
  country: string
  region: string
  latitude: number
  longitude: number
  state: 'up' | 'drain' | 'down'
  /** Unix seconds of its last heartbeat; 0 before the first. */
  seen: number
  capacity: Resources
  used: Resources
  /** What the node says of itself beyond that: name, overlay address… JSON. */
  attributes: Record<string, unknown>
  nonce: number
}

export async function createFarm(grid: Grid, relayer: Relayer, owner: Hex, name: string): Promise<number> {
  const { block, hash } = await write(grid, relayer, 'setFarm', [0, owner, name])
  const found = await events(grid, ['FarmSet'], [], { from: block, to: block })
  return found.find((e) => e.tx === hash)!.args.farm as number
}

export async function listFarms(grid: Grid): Promise<{ id: number; owner: Hex; name: string }[]> {
  const { number } = await grid.engine.finalized()
  const found = await events(grid, ['FarmSet'], [], { to: BigInt(number) })
  const farms = new Map(found.map((e) => [e.args.farm as number, e.args]))
  return [...farms].map(([id, a]) => ({ id, owner: a.owner as Hex, name: a.name as string }))
}

export type NodeDescription = {
  /** 0 or absent registers a new node. */
  node?: number
  farm: number
  capacity: Resources
  country: string
  /** ISO 3166-2, such as "DE-BY"; '' when unknown. */
  region?: string
  /** Degrees; kept to 1e-7. */
  latitude?: number
  longitude?: number
  attributes?: Record<string, unknown>
  nonce?: number
}

/** Registers or changes a node: signed by its own key and its farm's owner, sent by anyone. Gives its number. */
export async function registerNode(
  grid: Grid,
  relayer: Relayer,
  keys: { node: Key; owner: Key; old?: Key },
  d: NodeDescription,
): Promise<{ id: number; gas: bigint }> {
  const { region = '', latitude = 0, longitude = 0 } = d
  const place = { region, latitude: degrees(latitude), longitude: degrees(longitude) }
  const registration: Registration = registrationSchema.parse({
    node: d.node ?? 0,
    farm: d.farm,
    key: keys.node.address,
    seal: keys.node.seal,
    capacity: d.capacity,
    country: countryHex(d.country),
    attributes: stringToHex(canonicalJson({ ...d.attributes, ...place })),
    nonce: d.nonce ?? 1,
    deadline: Math.floor(Date.now() / 1000) + 3600,
  })
  const digest = digestOf(grid.domain, 'Registration', registration)
  const signatures = [keys.node, keys.owner, ...(keys.old ? [keys.old] : [])].map((k) => k.sign(digest))
  const { block, hash, gas } = await write(grid, relayer, 'registerNode', [registration, signatures])
  const found = await events(grid, ['NodeSet'], [], { from: block, to: block })
  return { id: found.find((e) => e.tx === hash)!.args.node as number, gas }
}

/** To 1e-7, which is a centimetre. */
const degrees = (n: number): number => Math.round(n * 1e7) / 1e7

const LANES = ['cpu', 'ram', 'ssd', 'hdd', 'uplink', 'gpu', 'ipv4'] as const

/** Pack.pack of the contract, backwards: seven lanes of 28 bits, cpu lowest. */
export function unpack(packed: bigint): Resources {
  return Object.fromEntries(LANES.map((l, n) => [l, Number((packed >> BigInt(28 * n)) & 0xfffffffn)])) as Resources
}

type Row = readonly [Hex, number, Hex, number, bigint, number, number, bigint]

/** What the contract holds of a node, and what it said when it registered; undefined when there is none. */
export async function readNode(grid: Grid, id: number): Promise<Node | undefined> {
  return (await readNodes(grid, [id]))[0]
}

/** The number of the node whose key has that address, as the head has it; 0 when there is none. */
export const nodeOfKey = async (grid: Grid, key: Hex): Promise<number> => Number(await view(grid, 'nodeOf', [key]))

/** The address of a node's key, as the contract has it. */
export async function keyOfNode(grid: Grid, id: number): Promise<Hex> {
  return ((await view(grid, 'nodes', [id])) as Row)[0].toLowerCase() as Hex
}

/** Unix seconds of a node's last heartbeat as the head has it; 0 before the first. */
export async function seenOf(grid: Grid, id: number): Promise<number> {
  return ((await view(grid, 'nodes', [id])) as Row)[3]
}

/** Every node on this chain. */
export async function listNodes(grid: Grid): Promise<Node[]> {
  const count = Number(await view(grid, 'nodeCount', []))
  return readNodes(
    grid,
    Array.from({ length: count }, (_, n) => n + 1),
  )
}

async function readNodes(grid: Grid, ids: number[]): Promise<Node[]> {
  const { number } = await grid.engine.finalized()
  const topic = ids.length === 1 ? (`0x${ids[0]!.toString(16).padStart(64, '0')}` as Hex) : null
  const said = new Map<number, Registration>()
  for (const e of await events(grid, ['NodeSet'], [topic], { to: BigInt(number) }))
    said.set(e.args.node as number, e.args.registration as Registration)
  const rows = await Promise.all(ids.map((id) => view(grid, 'nodes', [id]) as Promise<Row>))
  return ids.flatMap((id, n) => {
    const [key, farm, country, seen, capacity, state, nonce, used] = rows[n]!
    const r = said.get(id)
    if (BigInt(key) === 0n || !r) return []
    const attributes = attributesOf(r.attributes)
    return [
      {
        id,
        farm,
        key: key.toLowerCase() as Hex,
        seal: r.seal,
        country: countryOf(country),
        region: typeof attributes.region === 'string' ? attributes.region : '',
        latitude: within(attributes.latitude, 90),
        longitude: within(attributes.longitude, 180),
        state: (['up', 'drain', 'down'] as const)[state - 1]!,
        seen,
        capacity: unpack(capacity),
        used: unpack(used),
        attributes,
        nonce,
      },
    ]
  })
}

const within = (n: unknown, most: number): number => (typeof n === 'number' && Math.abs(n) <= most ? n : 0)

function attributesOf(bytes: Hex): Record<string, unknown> {
  try {
    const said: unknown = JSON.parse(Buffer.from(bytes.slice(2), 'hex').toString())
    // anyone may register a node: "null" is JSON as well
    return typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** Heartbeats of one node or many in one transaction. */
export function sendBeats(grid: Grid, relayer: Relayer, beats: (Beat & { signature: Hex })[]) {
  const short = beats.map(({ node, time, signature }) => {
    const { r, yParityAndS } = signatureToCompactSignature(parseSignature(signature))
    return { node, time, r, vs: yParityAndS }
  })
  return write(grid, relayer, 'beat', [short])
}

export function signBeat(grid: Grid, key: Key, node: number, time: number): Beat & { signature: Hex } {
  return { node, time, signature: key.sign(digestOf(grid.domain, 'Beat', { node, time })) }
}
