import { ZosError } from '#codec'
import { z } from '#npm'
import type { Hex } from './types.ts'

// What callers of the JSON-RPC methods may say, as shapes: whatever fits none of them is refused by its place.

export const hexData = z
  .string()
  .regex(/^0x([0-9a-fA-F]{2})*$/)
  .max(2 * 1024 * 1024) as unknown as z.ZodType<Hex>
export const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/) as unknown as z.ZodType<Hex>
export const hash = z.string().regex(/^0x[0-9a-fA-F]{64}$/) as unknown as z.ZodType<Hex>
export const quantity = z
  .string()
  .regex(/^0x[0-9a-fA-F]{1,64}$/)
  .transform((q) => BigInt(q))
export const tag = z.union([
  z.enum(['latest', 'pending', 'safe', 'finalized', 'earliest']),
  quantity,
  z.object({ blockNumber: quantity }).transform((o) => o.blockNumber),
  z.object({ blockHash: hash }),
])
export const at = tag.default('latest')
export const callObject = z.object({
  from: address.optional(),
  to: address.nullish(),
  data: hexData.optional(),
  input: hexData.optional(),
  gas: quantity.optional(),
})
const topic = z.union([hash, z.null(), z.array(hash).max(32)])
export const filter = z.object({
  fromBlock: tag.optional(),
  toBlock: tag.optional(),
  blockHash: hash.optional(),
  address: z.union([address, z.array(address).max(32)]).optional(),
  topics: z.array(topic).max(4).optional(),
})

export type Tag = z.infer<typeof tag>
export type Filter = z.infer<typeof filter>
export type CallObject = z.infer<typeof callObject>

/** GIVEN, held against SHAPE; throws `bad-params` naming the first place that does not fit. */
export function params<T extends z.ZodType>(shape: T, given: unknown[]): z.infer<T> {
  const parsed = shape.safeParse(given)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]!
  throw new ZosError(`Read parameters at "${issue.path.join('.')}": ${issue.message}`, { code: 'bad-params' })
}

/** GIVEN, its block "latest" where none is named: it is parameter number AT. */
export const orLatest = (given: unknown[], at = 1): unknown[] =>
  given.length <= at ? [...given.slice(0, at), 'latest'] : given
