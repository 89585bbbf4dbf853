import { encodeAbiParameters, hashTypedData, keccak256, stringToHex, type TypedDataDomain } from '#npm'
import type { Ack, Beat, Freeze, HubKey, MemberSet, Registration, Transition } from './schema.ts'
import { type TypedName, typedTypes } from './types.ts'

type Hex = `0x${string}`

/** Which chain and which contract a signature is for. */
export type Domain = { chainId: number; contract: Hex }

export type Signable = {
  MemberSet: MemberSet
  Transition: Transition
  Freeze: Freeze
  Registration: Registration
  Ack: Ack
  Beat: Beat
  HubKey: HubKey
}

const typedDomain = (d: Domain): TypedDataDomain => ({
  name: 'ZOS',
  version: '1',
  chainId: d.chainId,
  verifyingContract: d.contract,
})

/** What a member's wallet is given to sign. */
export function typedData<K extends keyof Signable>(domain: Domain, primaryType: K, message: Signable[K]) {
  return { domain: typedDomain(domain), types: typedTypes, primaryType: primaryType as TypedName, message }
}

/** The 32 bytes that are signed, and by which an approval, a member set or a freeze is named. */
export function digestOf<K extends keyof Signable>(domain: Domain, primaryType: K, message: Signable[K]): Hex {
  return hashTypedData(typedData(domain, primaryType, message) as unknown as Parameters<typeof hashTypedData>[0])
}

/** A group's id is the digest of its founding set; a set of any epoch names its group. */
export function groupOf(domain: Domain, set: MemberSet): Hex {
  return BigInt(set.group) === 0n ? digestOf(domain, 'MemberSet', set) : set.group
}

/** As the Ledger names it: names are unique within a group. */
export function deploymentId(group: Hex, name: string): Hex {
  return keccak256(
    encodeAbiParameters([{ type: 'bytes32' }, { type: 'bytes32' }], [group, keccak256(stringToHex(name))]),
  )
}

export const ZERO = `0x${'00'.repeat(32)}` as const

/** "DE" as the bytes2 the contract compares. */
export const countryHex = (code: string): Hex => stringToHex(code.toUpperCase(), { size: 2 })
export const countryOf = (hex: Hex): string => Buffer.from(hex.slice(2), 'hex').toString('latin1').replace(/\0+$/, '')
