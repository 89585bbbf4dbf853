import { randomBytes } from 'node:crypto'
import { ZosError } from '#codec'
import { type Key, MODE, readConsent, type SlotNetwork, type SlotSpec, type WantedSlot, type Workload } from '#contract'
import { identityOf } from '#mycelium'
import type { Context } from './context.ts'
import { openOne } from './sealed.ts'

type Members = SlotNetwork['members']
/** The slots of other deployments of the group, by the deployment's name. */
export type Neighbours = ReadonlyMap<string, Members>

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

const nameOf = ({ workload }: SlotSpec): string => String(workload.name)

/** The slots of the group's deployment NAME that has its place now; none when it does not run or has no network. */
export async function membersOf(context: Context, key: Key, group: `0x${string}`, name: string): Promise<Members> {
  const { state } = await readConsent(context.grid, group, name)
  if (state.status !== 'active' || !state.placed) return []
  // each of its specs lists all of them
  const { spec } = await openOne(context, key, state.placed, 0)
  return spec.network?.members ?? []
}

/** The deployments that rules of WANTED name besides their own; each must run, for its addresses are part of what is agreed on. */
export async function neighboursOf(
  context: Context,
  key: Key,
  group: `0x${string}`,
  wanted: WantedSlot[],
): Promise<Neighbours> {
  const found = new Map<string, Members>()
  for (const { spec } of wanted) {
    const { allow = [], reach = [] } = spec.workload as Partial<Workload>
    for (const [name, workload] of [...allow.flatMap(({ from }) => from), ...reach].map((said) => said.split('/'))) {
      if (workload === undefined || name === spec.deployment || found.has(name!)) continue
      const members = await membersOf(context, key, group, name!)
      if (members.length === 0)
        throw new ZosError(
          `Deploy "${spec.deployment}": "${name}", which "${nameOf(spec)}" names, is no running deployment of the group; deploy it first, and this one again after it`,
          { code: 'no-deployment' },
        )
      found.set(name!, members)
    }
  }
  return found
}

/** The slots of workload NAME among MEMBERS, "*" for all; they are of DEPLOYMENT. */
function named(members: Members, name: string, deployment: string): Members {
  const found = members.filter(({ names }) => name === '*' || names[0] === name)
  if (found.length > 0) return found
  throw new ZosError(`Read a rule: "${deployment}" has no workload "${name}"`, { code: 'bad-rule' })
}

/** What the rules of a workload mean now, by address. */
function rulesOf(spec: SlotSpec, own: Members, neighbours: Neighbours): Pick<SlotNetwork, 'others' | 'allow'> {
  const { allow, reach } = spec.workload as Partial<Workload>
  const meant = (said: string): { deployment: string; members: Members } => {
    const [name, workload] = said.split('/') as [string, string | undefined]
    return workload === undefined || name === spec.deployment
      ? { deployment: spec.deployment, members: named(own, workload ?? name, spec.deployment) }
      : { deployment: name, members: named(neighbours.get(name)!, workload, name) }
  }
  const others = reach?.flatMap((said) => {
    const { deployment, members } = meant(said)
    return members.map(({ names, address }) => ({ names: names.map((label) => `${label}.${deployment}`), address }))
  })
  const rules = allow?.map(({ from, ports }) => ({
    from: from.flatMap((said) => (said === '@people' ? [] : meant(said).members.map(({ address }) => address))),
    people: from.includes('@people'),
    ports,
  }))
  return { ...(others ? { others } : {}), ...(rules ? { allow: rules } : {}) }
}

/**
 * Gives every slot a key, and tells each the addresses and names of all: `WORKLOAD` for all its replicas, `WORKLOAD-SLOT`
 * for one; and whom of NEIGHBOURS its rules mean. Slots that BEFORE (the specs that count now) had keep their keys, and so
 * their addresses.
 */
export function giveAddresses(wanted: WantedSlot[], before: SlotSpec[], neighbours: Neighbours): WantedSlot[] {
  const secrets = new Map<number, string>()
  for (const { index, spec } of wanted) {
    const known = before.find((b) => nameOf(b) === nameOf(spec) && b.replica === spec.replica)
    // a standby is its primary elsewhere: the same key under the same number
    if (!secrets.has(index)) secrets.set(index, known?.network?.secret ?? hex(randomBytes(32)))
  }
  const members: Members = wanted
    .filter(({ mode }) => mode !== MODE.standby)
    .map(({ index, spec }) => ({
      slot: index,
      names: [nameOf(spec), `${nameOf(spec)}-${index}`],
      address: hex(identityOf(Buffer.from(secrets.get(index)!, 'hex')).address),
    }))
  return wanted.map(({ spec, ...w }) => ({
    ...w,
    spec: {
      ...spec,
      network: { secret: secrets.get(w.index)!, members, ...rulesOf(spec, members, neighbours) },
    },
  }))
}
