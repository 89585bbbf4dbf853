import { keccak256, stringToHex } from '#npm'
import { type Freeze, type Signature, signatureSchema } from '../typed/schema.ts'

type Hex = `0x${string}`

/** Signatures as the contract takes them: a bit for each member's place, and the bytes in the order of places. */
export function consentArgs(signatures: readonly Signature[]): [by: bigint, signatures: Hex[]] {
  const all = [...signatures].sort((a, b) => a.member - b.member)
  return [all.reduce((by, s) => by | (1n << BigInt(s.member)), 0n), all.map((s) => s.signature)]
}

/** The same backwards, as an event has them. */
export function consentOf({ by, signatures }: Record<string, unknown>): Signature[] {
  const bits = BigInt(by as number | bigint)
  const members = Array.from({ length: 256 }, (_, n) => n).filter((n) => (bits >> BigInt(n)) & 1n)
  return (signatures as Hex[]).map((signature, n) => signatureSchema.parse({ member: members[n], signature }))
}

/** A member's stop as the contract takes it: the name by its hash. */
export const freezeArgs = (f: Freeze, s: Signature) => [
  { ...f, name: keccak256(stringToHex(f.name)) },
  s.member,
  s.signature,
]
