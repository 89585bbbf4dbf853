import { randomBytes } from 'node:crypto'
import { ZosError } from '#codec'
import { keccak256, z } from '#npm'
import { applySet, foundGroup, type GroupState } from '../approval/set.ts'
import { digestOf, ZERO } from '../typed/digest.ts'
import { canonicalSignature, signerKind, signerOf } from '../typed/passkey.ts'
import { type Member, type MemberSet, memberSetSchema, ROLE, type Signature } from '../typed/schema.ts'
import { consentArgs, consentOf } from './consent.ts'
import { evidenceOfSets, type SetEntry, withEvidence } from './evidence.ts'
import { type Grid, notFinalYet, view } from './grid.ts'
import { events } from './logs.ts'
import { type Relayer, write } from './relayer.ts'

type Hex = `0x${string}`

/** Seconds one member alone can stop a deployment for. */
export const FREEZE_SECONDS = 72 * 3600

/** address: the member's signer bytes (an address, or an ERC-7913 signer: passkeySigner). */
export type NewMember = { address: Hex; seal?: Hex; weight?: number; roles?: number }

/** Members in the one order the contract takes. A member's place in it is how signatures name it. */
export function membersOf(members: NewMember[]): Member[] {
  const all = members.map((m) => ({
    signer: m.address.toLowerCase() as Hex,
    weight: m.weight ?? 1,
    roles: m.roles ?? ROLE.approve | ROLE.stop | ROLE.read,
    seal: m.seal ?? ZERO,
  }))
  const key = (m: Member) => BigInt(keccak256(m.signer))
  return all.sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

export type GroupTerms = {
  members: NewMember[]
  /** One threshold for all classes, or one for each. */
  threshold: number | MemberSet['thresholds']
  freezeSeconds?: number
}

function terms(t: GroupTerms): Pick<MemberSet, 'members' | 'thresholds' | 'freezeSeconds'> {
  const n = t.threshold
  const thresholds = typeof n === 'number' ? { deploy: n, control: n, wipe: n, membership: n } : n
  return { members: membersOf(t.members), thresholds, freezeSeconds: t.freezeSeconds ?? FREEZE_SECONDS }
}

/** Founds a group. Its id commits to its founding members, so a lying chain cannot change them. */
export async function createGroup(
  grid: Grid,
  relayer: Relayer,
  wanted: GroupTerms,
): Promise<GroupState & { gas: bigint }> {
  const salt = `0x${randomBytes(32).toString('hex')}` as Hex
  const set = memberSetSchema.parse({ group: ZERO, epoch: 1, previous: salt, ...terms(wanted), deadline: 0 })
  const state = foundGroup(grid.domain, set) // refused here with words, before the chain does
  const { gas } = await write(grid, relayer, 'setGroup', [set, ...consentArgs([])])
  return { ...state, gas }
}

/** The member set of the next epoch, for the members of this one to sign. */
export function draftMembership(state: GroupState, wanted: GroupTerms, deadline: number): MemberSet {
  const { group, digest, set } = state
  return { group, epoch: set.epoch + 1, previous: digest, ...terms(wanted), deadline }
}

/** S in the one form the verifier takes, whatever form of it a relayer posted. */
export function canonical(grid: Grid, set: MemberSet | undefined, s: Signature): Signature {
  const signer = set?.members[s.member]?.signer
  return signer ? { ...s, signature: canonicalSignature(grid.domain, signer, s.signature) } : s
}

const incomplete = (group: Hex) =>
  new ZosError(`Read group "${group}": its member sets on this chain are not complete; ask another RPC`, {
    code: 'bad-chain',
    kind: 'node',
  })

/** Every member set a group had, oldest first, as the events tell; the current one's digest must be the contract's. */
export async function readSets(grid: Grid, group: Hex): Promise<{ entries: SetEntry[]; state: GroupState }> {
  const { number } = await grid.engine.finalized()
  const found = await events(grid, ['GroupSet'], [group], { to: BigInt(number) })
  const entries: SetEntry[] = []
  for (const e of found) {
    const before = entries.at(-1)?.set
    const signatures = consentOf(e.args).map((s) => canonical(grid, before, s))
    entries.push({ set: memberSetSchema.parse(e.args.set), signatures })
  }
  const [first, ...later] = entries
  if (!first)
    throw new ZosError(`Read group "${group}": there is none on this chain${await notFinalYet(grid)}`, {
      code: 'no-group',
    })
  // the contract takes no other order: one that is not here was kept back, which says nothing of the group
  if (entries.some(({ set }, n) => set.epoch !== n + 1)) throw incomplete(group)
  const founded = foundGroup(grid.domain, first.set)
  if (founded.group !== group)
    throw new ZosError(`Read group "${group}": the founding set is another's`, { code: 'bad-chain', kind: 'node' })
  const { result: state } = await withEvidence(
    (evidence) => later.reduce((state, e) => applySet(state, e.set, e.signatures, evidence), founded),
    () => evidenceOfSets(grid, group, entries),
  )
  // of the same block: the head may have a set that is not final yet
  const current = (await view(grid, 'groups', [group], BigInt(number))) as Hex
  if (current !== state.digest) throw incomplete(group)
  return { entries, state }
}

/** The group as of now, verified from its founding set on. */
export async function readGroup(grid: Grid, group: Hex): Promise<GroupState> {
  return (await readSets(grid, group)).state
}

/**
 * The groups on this chain whose current set has ADDRESS in it. Anyone may found a group whose set the contract takes and we do
 * not: it is left out, and BAD hears of it, so that one such group breaks nobody's list. An RPC that fails throws.
 */
export async function listGroups(
  grid: Grid,
  options: { address?: Hex; bad?: (group: Hex, error: unknown) => void } = {},
): Promise<GroupState[]> {
  const { address, bad } = options
  const { number } = await grid.engine.finalized()
  const found = await events(grid, ['GroupSet'], [], { to: BigInt(number) })
  const ids = [...new Set(found.map((e) => e.args.group as Hex))]
  const read = async (id: Hex): Promise<GroupState[]> => {
    try {
      return [await readGroup(grid, id)]
    } catch (error) {
      if (!isOfGroup(error)) throw error
      bad?.(id, error)
      return []
    }
  }
  const groups = (await Promise.all(ids.map(read))).flat()
  const wanted = address && signerOf(grid.domain, address.toLowerCase() as Hex)
  return groups.filter((g) => !wanted || g.set.members.some((m) => m.signer === wanted))
}

/** Whether it says something of what was read, and not that nothing could be. */
const isOfGroup = (error: unknown): boolean =>
  error instanceof z.ZodError || (error instanceof ZosError && !error.code.startsWith('rpc-'))

/** Addresses of the members that are contracts, as an engine of several RPCs agrees; not proven: for showing and asking. */
export async function contractMembers(grid: Grid, set: Pick<MemberSet, 'members'>): Promise<Set<string>> {
  const signers = set.members.map((m) => m.signer)
  const asked = signers.filter((s) => ['address', 'other'].includes(signerKind(grid.domain, s)))
  const addresses = asked.map((s) => s.slice(0, 42) as Hex)
  const codes = await Promise.all(addresses.map((address) => grid.client.getCode({ address })))
  return new Set(addresses.filter((_, n) => codes[n] !== undefined))
}

/** Takes the agreed next member set; the approvals of the old one die with its epoch. */
export function submitMembership(grid: Grid, relayer: Relayer, next: MemberSet, signatures: Signature[]) {
  return write(grid, relayer, 'setGroup', [next, ...consentArgs(signatures)])
}

/** A member's place in the set that counts now. */
export function placeOf(state: GroupState, address: Hex): number {
  const signer = signerOf(state.domain, address.toLowerCase() as Hex)
  const place = state.set.members.findIndex((m) => m.signer === signer)
  if (place < 0) {
    throw new ZosError(`Sign for group "${state.group.slice(0, 10)}": ${address} is not one of its members`, {
      code: 'not-a-member',
    })
  }
  return place
}

export const setDigest = (grid: Grid, set: MemberSet): Hex => digestOf(grid.domain, 'MemberSet', set)
