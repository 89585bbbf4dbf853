import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { reasonOf, sha256, ZosError } from '#codec'
import { type Key, keyOf, type Resources } from '#contract'
import { z } from '#npm'
import { writeAtomic } from '#sys'

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^0x[0-9a-f]{${bytes * 2}}$`)) as unknown as z.ZodType<`0x${string}`>

const LANES = ['cpu', 'ram', 'ssd', 'hdd', 'uplink', 'gpu', 'ipv4'] as const satisfies (keyof Resources)[]
type Lanes = Record<keyof Resources, z.ZodInt>

const schema = z.strictObject({
  format: z.literal('zos-node/1'),
  name: z.string(),
  /** Its number on the chain. */
  node: z.int().positive(),
  /** Pinned when it was registered: another chain or contract is never obeyed. */
  chainId: z.int().positive(),
  genesis: hex(32),
  contract: hex(20),
  /** Keccak-256 of the contract's code: a state in which it is another is not looked at. */
  codeHash: hex(32),
  /** Block of the contract. */
  since: z.int().min(0),
  secret: hex(32),
  /** Whose farm it is: by this key's signature alone a slot is given back before its group ends it. */
  owner: hex(20),
  /** Where it stands: ISO 3166-1, and 3166-2 where that is known, else ''. */
  country: z.string().regex(/^[A-Z]{2}$/),
  region: z.string(),
  /** What it gives away, as registered. */
  capacity: z.strictObject(Object.fromEntries(LANES.map((lane) => [lane, z.int().min(0)])) as Lanes),
})

/** What a node is, all it keeps for good: the rest comes from chain and hub. */
export type NodeConfig = z.infer<typeof schema>

const fileOf = (home: string) => join(home, 'node.json')

export function readConfig(home: string): NodeConfig {
  try {
    return schema.parse(JSON.parse(readFileSync(fileOf(home), 'utf8')))
  } catch (cause) {
    throw new ZosError(
      `Read node "${fileOf(home)}": ${reasonOf(cause).split('\n')[0]}; "zos node register" makes one, "zos grid up" those of a local grid`,
      { code: 'no-node', cause },
    )
  }
}

export const writeConfig = (home: string, config: NodeConfig): Promise<void> =>
  writeAtomic(fileOf(home), `${JSON.stringify(schema.parse(config), null, 2)}\n`, { mode: 0o600 })

/** Of a node's secret: its identity on the overlay. The network plane gets nothing that opens specs or signs. */
export const overlaySecret = (secret: Uint8Array): Buffer => sha256(Buffer.from('zos node overlay x25519\0'), secret)

export const keyOfNode = (config: NodeConfig): Key => keyOf(config.name, Buffer.from(config.secret.slice(2), 'hex'))
