import { randomBytes } from 'node:crypto'
import { ZosError } from '#codec'
import {
  type Key,
  MODE,
  type Reserved,
  readConsent,
  type SlotNetwork,
  type SlotSpec,
  type WantedSlot,
  type Workload,
} from '#contract'
import type { Context } from './context.ts'
import { addressOf, type Kept, type Members, type Neighbours } from './neighbours.ts'
import { openOne } from './sealed.ts'

const nameOf = ({ workload }: SlotSpec): string => String(workload.name)

/** The slots of the group's deployment NAME that has its place now; none when it does not run or has no network. */
export async function membersOf(context: Context, key: Key, group: `0x${string}`, name: string): Promise<Members> {
  const { state } = await readConsent(context.grid, group, name)
  if (state.status !== 'active' || !state.placed) return []
  // each of its specs lists all of them
  const { spec } = await openOne(context, key, state.placed, 0)
  return spec.network?.members ?? []
}

/** Slots by the labels they answer to in their deployment. */
type Meant = { deployment: string; slots: { names: string[]; address: string }[] }

/** The slots of workload NAME among MEMBERS, "*" for all; they are of DEPLOYMENT. */
function named(members: Members, name: string, deployment: string): Meant {
  const slots = members.filter(({ names }) => name === '*' || names[0] === name)
  if (slots.length > 0) return { deployment, slots }
  throw new ZosError(`Read a rule: "${deployment}" has no workload "${name}"`, { code: 'bad-rule' })
}

/** What the rules of a workload mean now, by address. */
function rulesOf(spec: SlotSpec, own: Members, neighbours: Neighbours): Pick<SlotNetwork, 'others' | 'allow'> {
  const { allow, reach } = spec.workload as Partial<Workload>
  const meant = (said: string): Meant => {
    const [name, workload] = said.split('/') as [string, string | undefined]
    if (workload === undefined || name === spec.deployment) return named(own, workload ?? name, spec.deployment)
    const other = neighbours.get(name)!
    if ('members' in other) return named(other.members, workload, name)
    const kept = other.kept.filter(({ rule }) => rule === workload)
    // which workload it will be is not known for "*": its node says so once it runs
    return {
      deployment: name,
      slots: kept.map(({ rule, secret }) => ({ names: rule === '*' ? [] : [rule], address: addressOf(secret) })),
    }
  }
  const others = reach?.flatMap((said) => {
    const { deployment, slots } = meant(said)
    return slots.map(({ names, address }) => ({ names: names.map((label) => `${label}.${deployment}`), address }))
  })
  const rules = allow?.map(({ from, ports }) => ({
    from: from.flatMap((said) => (said === '@people' ? [] : meant(said).slots.map(({ address }) => address))),
    people: from.includes('@people'),
    ports,
  }))
  return { ...(others ? { others } : {}), ...(rules ? { allow: rules } : {}) }
}

/** What giving addresses goes by. */
export type Addressing = {
  /** The specs that count now: their slots keep their keys, and so their addresses. */
  before: readonly SlotSpec[]
  /** Keys that other deployments, which name this one, keep for its first slots. */
  kept: readonly Kept[]
  neighbours: Neighbours
  /** For the first slot's spec: what this one keeps for others. */
  reserved: Reserved | undefined
}

/** The key of each slot by its number: the one it had, the one kept for it, or a new one. */
function secretsOf(wanted: readonly WantedSlot[], { before, kept }: Addressing): Map<number, string> {
  const secrets = new Map<number, string>()
  // a standby is its primary elsewhere: the same key under the same number
  const primaries = wanted.filter(({ mode }) => mode !== MODE.standby)
  const known = ({ spec }: WantedSlot) =>
    before.find((b) => nameOf(b) === nameOf(spec) && b.replica === spec.replica)?.network?.secret
  for (const one of primaries) {
    const had = known(one)
    if (had !== undefined) secrets.set(one.index, had)
  }
  const give = (secret: string, to: (one: WantedSlot) => boolean): void => {
    const slot = primaries.find((one) => !secrets.has(one.index) && to(one))
    if (slot && ![...secrets.values()].includes(secret)) secrets.set(slot.index, secret)
  }
  for (const { rule, secret } of kept)
    if (rule !== '*') give(secret, ({ spec }) => nameOf(spec) === rule && spec.replica === 0)
  for (const { rule, secret } of kept) if (rule === '*') give(secret, () => true)
  for (const { index } of primaries) if (!secrets.has(index)) secrets.set(index, randomBytes(32).toString('hex'))
  return secrets
}

/**
 * Gives every slot a key, and tells each the addresses and names of all: `WORKLOAD` for all its replicas, `WORKLOAD-SLOT`
 * for one; and whom of other deployments its rules mean.
 */
export function giveAddresses(wanted: WantedSlot[], by: Addressing): WantedSlot[] {
  const secrets = secretsOf(wanted, by)
  const members: Members = wanted
    .filter(({ mode }) => mode !== MODE.standby)
    .map(({ index, spec }) => ({
      slot: index,
      names: [nameOf(spec), `${nameOf(spec)}-${index}`],
      address: addressOf(secrets.get(index)!),
    }))
  return wanted.map(({ spec, ...w }, n) => ({
    ...w,
    spec: {
      ...spec,
      network: {
        secret: secrets.get(w.index)!,
        members,
        ...rulesOf(spec, members, by.neighbours),
        ...(n === 0 && by.reserved ? { reserved: by.reserved } : {}),
      },
    },
  }))
}
