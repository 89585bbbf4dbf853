import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { writeAtomic } from '#sys'
import { places } from '#wire'

/** What anyone needs to take part in a grid; no secret. `zos grid export` prints it, $ZOS_GRID names such a file. */
export type GridFacts = {
  format: 'zos-grid/1'
  chainId: number
  genesis: `0x${string}`
  contract: `0x${string}`
  since: number
  rpc: string[]
  hub: string[]
  /** Overlay peers. */
  peers: string[]
  /** The overlay address of who posts what nodes sign. */
  relayer?: string
}

export type LocalNode = { name: string; farm: string; country: string }

/**
 * What only the machine of a local grid knows. Ports are fixed once, so that nodes find chain, hub and relay again; so is the
 * address of the relay, by default 127.0.0.1.
 */
export type LocalGrid = {
  chainPort: number
  hubPort: number
  relayPort: number
  relayAddress?: string
  nodes: LocalNode[]
}

export const keysDir = (): string => join(places().home, 'keys')
export const gridDir = (): string => join(places().home, 'grid')
export const nodeHome = (name: string): string => join(gridDir(), 'nodes', name)

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw new ZosError(`Read "${path}": it is damaged`, { code: 'bad-grid-file', cause: error })
  }
}

/** The grid that commands talk to: the one described by FILE, or $ZOS_GRID, or the local one, or the one JOINED here. */
export function gridFacts(file?: string, joined?: GridFacts): GridFacts {
  const said = file || process.env.ZOS_GRID
  const path = said || join(gridDir(), 'grid.json')
  const read = readJson<GridFacts | null>(path)
  const facts = read === undefined && !said ? joined : read
  if (facts?.format === 'zos-grid/1') return facts
  const why = facts === undefined ? 'is not there' : 'does not describe one: it has no "format": "zos-grid/1"'
  throw new ZosError(`Find the grid: "${path}" ${why}; "zos grid up" makes a local one`, { code: 'no-grid' })
}

export const localGrid = (): LocalGrid | undefined => readJson<LocalGrid>(join(gridDir(), 'local.json'))
export const factsOfLocal = (): GridFacts | undefined => readJson<GridFacts>(join(gridDir(), 'grid.json'))

async function save(name: string, value: object): Promise<void> {
  mkdirSync(gridDir(), { recursive: true, mode: 0o700 })
  await writeAtomic(join(gridDir(), name), `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
}
export const saveLocal = (value: LocalGrid): Promise<void> => save('local.json', value)
export const saveFacts = (value: GridFacts): Promise<void> => save('grid.json', value)
