import { z } from '#npm'

// The same structs as JSON: whole numbers as numbers, bytes as lower-case hex. Strict: a field nobody signed is refused.

type Hex = `0x${string}`
const hexOf = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^0x[0-9a-f]{${bytes * 2}}$`), `${bytes} bytes in lower-case hex`) as unknown as z.ZodType<Hex>
const hexBytes = (min: number, max: number) =>
  z
    .string()
    .regex(/^0x([0-9a-f]{2})*$/, 'bytes in lower-case hex')
    .min(2 + min * 2)
    .max(2 + max * 2) as unknown as z.ZodType<Hex>
const uint = (bits: number) =>
  z
    .int()
    .min(0)
    .max(Math.min(2 ** bits - 1, Number.MAX_SAFE_INTEGER))

export const word = hexOf(32)
export const address = hexOf(20)

/** cpu in 1/1000, ram and ssd in MiB, hdd in GiB, uplink in kbit/s; each below 2^27. */
const resourcesSchema = z.strictObject({
  cpu: uint(27),
  ram: uint(27),
  ssd: uint(27),
  hdd: uint(27),
  uplink: uint(27),
  gpu: uint(27),
  ipv4: uint(27),
})
export type Resources = z.infer<typeof resourcesSchema>

export const ROLE = { approve: 1, stop: 2, read: 4 } as const

export const memberSchema = z.strictObject({
  signer: hexBytes(20, 1024),
  weight: uint(32),
  roles: z.int().min(1).max(7),
  seal: word,
})
export type Member = z.infer<typeof memberSchema>

export const memberSetSchema = z.strictObject({
  group: word,
  epoch: uint(32),
  previous: word,
  members: z.array(memberSchema).min(1).max(56),
  thresholds: z.strictObject({ deploy: uint(32), control: uint(32), wipe: uint(32), membership: uint(32) }),
  freezeSeconds: uint(24),
  deadline: uint(53),
})
export type MemberSet = z.infer<typeof memberSetSchema>

export const signatureSchema = z.strictObject({ member: uint(8), signature: hexBytes(64, 2048) })
export type Signature = z.infer<typeof signatureSchema>

export const MODE = { keep: 0, fenced: 1, standby: 2 } as const

const slotSchema = z.strictObject({
  index: z.int().min(0).max(127),
  node: z.int().min(1).max(0xffffff),
  mode: z.int().min(0).max(2),
  blob: word,
  resources: resourcesSchema,
})
export type Slot = z.infer<typeof slotSchema>

const countryHex = hexOf(2)
const rulesSchema = z.strictObject({
  allow: z.array(countryHex).max(64),
  deny: z.array(countryHex).max(64),
  farms: uint(8),
})
export type Rules = z.infer<typeof rulesSchema>

export const KINDS = ['deploy', 'update', 'undo', 'migrate', 'thaw', 'freeze', 'cancel', 'wipe'] as const
export type Kind = (typeof KINDS)[number]

/** Public names of one deployment. */
export const NAMES = 16

export const transitionSchema = z.strictObject({
  kind: z.enum(KINDS),
  group: word,
  epoch: uint(32),
  set: word,
  name: z.string().regex(/^(?!-)[a-z0-9-]{1,63}(?<!-)$/, '1 to 63 of a–z, 0–9 and "-"'),
  sequence: uint(32),
  version: uint(32),
  previous: word,
  specRoot: word,
  slots: z.array(slotSchema).max(128),
  rules: rulesSchema,
  names: z.array(z.string().max(63)).max(NAMES),
  expiry: uint(40),
  drain: uint(24),
  deadline: uint(53),
})
export type Transition = z.infer<typeof transitionSchema>

export const freezeSchema = z.strictObject({
  group: word,
  epoch: uint(32),
  name: z.string().max(63),
  sequence: uint(32),
  until: uint(53),
})
export type Freeze = z.infer<typeof freezeSchema>

export const registrationSchema = z.strictObject({
  node: uint(24),
  farm: uint(32),
  key: address,
  seal: word,
  capacity: resourcesSchema,
  country: countryHex,
  attributes: hexBytes(0, 2048),
  nonce: uint(16),
  deadline: uint(53),
})
export type Registration = z.infer<typeof registrationSchema>

export const ackSchema = z.strictObject({
  deployment: word,
  slot: uint(8),
  node: uint(24),
  sequence: uint(32),
  phase: uint(8),
  time: uint(53),
  report: hexBytes(0, 256),
})
export type Ack = z.infer<typeof ackSchema>

export const beatSchema = z.strictObject({ node: uint(24), time: uint(40) })
export type Beat = z.infer<typeof beatSchema>

/** Whoever signs it lets the Ed25519 KEY ask the hub HUB in their name for what DOMAIN holds. UNTIL: Unix seconds. */
export type HubKey = { domain: string; hub: string; key: Hex; until: number }

/** What a slot's node says of it; 1 and 5 are what a slot is before it is spoken of, and once its operator took it back. */
export const PHASE = { reserved: 1, running: 2, failed: 3, stopped: 4, released: 5 } as const
export const STATE = { none: 0, active: 1, cancelled: 2, wiped: 3, expired: 4 } as const
