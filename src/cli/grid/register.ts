import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { codeOf, ZosError } from '#codec'
import {
  codeHashOf,
  type Grid,
  type Key,
  keyOf,
  listFarms,
  type NodeDescription,
  nodeOfKey,
  notFinalYet,
  type Relayer,
  type Resources,
  readNode,
  registerNode,
} from '#contract'
import { overlayKeyOf, writeConfig } from '#node'
import { writeAtomic } from '#sys'
import { JSON_FLAG, parseBytes, parseFlags } from '../flags.ts'
import { openContext, signer } from './context.ts'
import type { GridFacts } from './local.ts'

type Hex = `0x${string}`

/** Of the machine that has DIR, what one of COUNT nodes may give away; they share its processors in time. */
export function capacityOf(dir: string, count: number): Resources {
  const { bavail, bsize } = statfsSync(dir)
  const share = (bytes: number) => Math.floor((bytes * 0.75) / count / 2 ** 20)
  return {
    cpu: availableParallelism() * 1000,
    ram: share(totalmem()),
    ssd: share(bavail * bsize),
    hdd: 0,
    uplink: 100_000,
    gpu: 0,
    ipv4: 0,
  }
}

async function secretOf(home: string): Promise<Hex> {
  const path = join(home, 'identity')
  try {
    return readFileSync(path, 'utf8').trim() as Hex
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
  const secret = `0x${randomBytes(32).toString('hex')}` as Hex
  await writeAtomic(path, `${secret}\n`, { mode: 0o600 })
  return secret
}

/**
 * Makes HOME the home of a node of that grid: an identity of its own, on the chain and in its node.json. An interrupted attempt is
 * gone on with: the identity is kept before it is registered. Gives the node's number.
 */
export async function registerHome(
  at: { grid: Grid; relayer: Relayer; facts: GridFacts },
  node: { home: string; name: string; owner: Key } & Omit<NodeDescription, 'attributes'>,
): Promise<number> {
  const { grid, relayer, facts } = at
  const { home, name, owner, ...description } = node
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const secret = await secretOf(home)
  const bytes = Buffer.from(secret.slice(2), 'hex')
  const key = keyOf(name, bytes)
  const attributes = { name, overlay: await overlayKeyOf(bytes) }
  const known = await nodeOfKey(grid, key.address)
  const id = known || (await registerNode(grid, relayer, { node: key, owner }, { ...description, attributes })).id
  // what an interrupted attempt registered counts
  const { country, region = '', capacity } = (known && (await readNode(grid, known))) || description
  const { chainId, genesis, contract, since } = facts
  const pins = { chainId, genesis, contract, codeHash: await codeHashOf(grid), since }
  const own = { name, node: id, secret, owner: owner.address, country, region, capacity }
  await writeConfig(home, { format: 'zos-node/1', ...pins, ...own })
  return id
}

const usage = (why: string) => new ZosError(`zos node register: ${why}`, { code: 'usage' })

function degrees(text: string | undefined, what: string, most: number): number {
  const value = Number(text ?? 0)
  if (text === '' || !(Math.abs(value) <= most)) throw usage(`--${what} takes degrees from -${most} to ${most}`)
  return value
}

/** A farm by its number, which is taken as it is, or by its name. */
async function farmOf(grid: Grid, text: string): Promise<number> {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  const found = (await listFarms(grid)).filter(({ name }) => name === text)
  if (found.length === 1) return found[0]!.id
  const why =
    found.length === 0
      ? `there is none of that name; "zos farm ls" lists them${await notFinalYet(grid)}`
      : 'several have that name; say its number'
  throw new ZosError(`Find farm "${text}": ${why}`, { code: 'no-farm' })
}

/** `zos node register NAME`: a node of an existing farm, in a folder that `zos node run --home` takes. */
export async function register(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('node register', args, {
    home: { kind: 'value', about: "the node's folder" },
    farm: { kind: 'value', about: 'by name or number' },
    as: { kind: 'value', about: 'the key that owns the farm and signs' },
    country: { kind: 'value', about: 'where it stands: two letters of ISO 3166' },
    region: { kind: 'value', about: 'ISO 3166-2, such as DE-BY' },
    latitude: { kind: 'value', about: 'degrees' },
    longitude: { kind: 'value', about: 'degrees' },
    cpus: { kind: 'value', about: 'how many it gives away (as many as this machine has)' },
    memory: { kind: 'value', about: "such as 8g (three quarters of this machine's)" },
    disk: { kind: 'value', about: 'such as 100g (three quarters of what is free under --home)' },
    uplink: { kind: 'value', about: 'kbit/s (100000)' },
    json: JSON_FLAG,
  })
  const [name, ...more] = rest
  const { farm, country } = flags
  if (!name || more.length > 0 || !flags.home || !farm || !country)
    throw usage('write zos node register NAME --home DIR --farm FARM --as KEY --country CC [FLAGS]')
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) throw usage(`"${name}" is no name: take 1 to 32 of a–z, 0–9 and "-"`)
  if (!/^[A-Z]{2}$/.test(country)) throw usage(`"${country}" is no country: two capital letters, such as BE`)
  const home = resolve(flags.home)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const capacity = capacityOf(home, 1)
  const number = (text: string | undefined, what: string, scale: number, otherwise: number) => {
    const value = text === undefined ? otherwise : Math.floor(Number(text) * scale)
    if (text === '' || !(value > 0 && value < 2 ** 27)) throw usage(`--${what} takes a number, not "${text}"`)
    return value
  }
  const mib = (text: string | undefined, what: string, otherwise: number) =>
    text === undefined ? otherwise : Math.floor(parseBytes(text, `--${what}`) / 2 ** 20)
  const description = {
    country,
    latitude: degrees(flags.latitude, 'latitude', 90),
    longitude: degrees(flags.longitude, 'longitude', 180),
    ...(flags.region === undefined ? {} : { region: flags.region }),
    capacity: {
      ...capacity,
      cpu: number(flags.cpus, 'cpus', 1000, capacity.cpu),
      ram: mib(flags.memory, 'memory', capacity.ram),
      ssd: mib(flags.disk, 'disk', capacity.ssd),
      uplink: number(flags.uplink, 'uplink', 1, capacity.uplink),
    },
  }
  await using context = await openContext()
  const owner = await signer(flags.as, 'node register')
  const id = await registerHome(context, { ...description, home, name, owner, farm: await farmOf(context.grid, farm) })
  process.stdout.write(flags.json ? `${JSON.stringify({ id, name, home })}\n` : `${name}: node ${id}, in ${home}\n`)
  return 0
}
