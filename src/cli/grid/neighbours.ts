import { randomBytes } from 'node:crypto'
import { reasonOf, ZosError } from '#codec'
import {
  type Key,
  listDeployments,
  listProposals,
  openText,
  type Reserved,
  readConsent,
  type SlotNetwork,
  type SlotSpec,
  sealText,
  type Transition,
  type WantedSlot,
  type Workload,
} from '#contract'
import { identityOf } from '#mycelium'
import type { Context } from './context.ts'
import { openOne } from './sealed.ts'

type Hex = `0x${string}`
export type Members = SlotNetwork['members']
/** A key of a slot that is to come: RULE is `WORKLOAD`, or `*` for a first one whatever its name. */
export type Kept = { rule: string; secret: string }

/** What rules may name of another deployment: its slots, or the keys that are kept for those it will have. */
type Neighbour = { members: Members } | { kept: Kept[] }
/** By the deployment's name. */
export type Neighbours = ReadonlyMap<string, Neighbour>

export const addressOf = (secret: string): string =>
  Buffer.from(identityOf(Buffer.from(secret, 'hex')).address).toString('hex')

const note = (text: string): void => void process.stderr.write(`zos: ${text}\n`)

/** `DEPLOYMENT/WORKLOAD` of the rules of WANTED besides their own deployment, each once. */
function namedBy(wanted: readonly WantedSlot[]): { deployment: string; workload: string; by: string }[] {
  const found = new Map<string, { deployment: string; workload: string; by: string }>()
  for (const { spec } of wanted) {
    const { allow = [], reach = [] } = spec.workload as Partial<Workload>
    for (const said of [...allow.flatMap(({ from }) => from), ...reach]) {
      const [deployment, workload] = said.split('/') as [string, string | undefined]
      if (workload !== undefined && deployment !== spec.deployment)
        found.set(said, { deployment, workload, by: String(spec.workload.name) })
    }
  }
  return [...found.values()]
}

/** The step of the group's deployment NAME that says where it runs, or else where it is proposed to; undefined for neither. */
export async function stepOf(
  { context, group }: Pick<Reader, 'context' | 'group'>,
  name: string,
): Promise<Transition | undefined> {
  const { state } = await readConsent(context.grid, group, name)
  if (state.status === 'active' && state.placed) return state.placed
  for (const { subject } of (await listProposals(context.grid, group)).reverse())
    if ('transition' in subject && subject.transition.name === name && subject.transition.slots.length > 0)
      return subject.transition
  return undefined
}

/** The first spec of a deployment that runs or is proposed: it lists all slots, and what is kept for others. */
async function firstSpec(at: Reader, name: string): Promise<SlotSpec | undefined> {
  const step = await stepOf(at, name)
  return step && (await openOne(at.context, at.key, step, 0)).spec
}

/** What is kept for DEPLOYMENT in RESERVED; nothing for KEY to take when somebody who could read it then is no reader now. */
export async function keptIn(
  reserved: Reserved | undefined,
  deployment: string,
  key: Pick<Key, 'sealSecret'>,
  readers: Hex[],
): Promise<Kept[]> {
  if (!reserved?.of.some(({ rule }) => rule.startsWith(`${deployment}/`))) return []
  if (reserved.readers.some((one) => !readers.includes(one as Hex))) return []
  const text = await openText(reserved.secrets, key.sealSecret)
  const secrets = text === undefined ? {} : (JSON.parse(text) as Record<string, string>)
  return reserved.of.flatMap(({ rule, address }) => {
    const secret = secrets[rule]
    const isIts = rule.startsWith(`${deployment}/`) && secret !== undefined && addressOf(secret) === address
    return isIts ? [{ rule: rule.slice(deployment.length + 1), secret }] : []
  })
}

/** A key for each of WORKLOADS of a deployment to come: those that OTHERS keep for it, and new ones. "*" shares one of the named. */
export function keep(workloads: readonly string[], others: readonly Kept[]): Kept[] {
  const isNamed = (secret: string) => [...kept, ...others].some((one) => one.secret === secret && one.rule !== '*')
  const kept: Kept[] = []
  for (const rule of workloads) {
    if (rule === '*') continue
    const its = others.find((one) => one.rule === rule) ?? others.find(({ secret }) => !isNamed(secret))
    kept.push({ rule, secret: its?.secret ?? randomBytes(32).toString('hex') })
  }
  if (workloads.includes('*')) {
    const its = others.find(({ rule }) => rule === '*') ?? kept[0] ?? others[0]
    kept.push({ rule: '*', secret: its?.secret ?? randomBytes(32).toString('hex') })
  }
  return kept
}

export type Reader = { context: Context; key: Key; group: Hex; readers: Hex[] }

/**
 * The deployments that rules of WANTED name besides their own. Of one that is still to come, keys are kept: those that BEFORE (the
 * specs of an earlier version) or other deployments keep for it already, else new ones.
 */
export async function neighboursOf(at: Reader, wanted: WantedSlot[], before: readonly SlotSpec[]): Promise<Neighbours> {
  const { key, readers } = at
  const found = new Map<string, Neighbour>()
  const named = Map.groupBy(namedBy(wanted), ({ deployment }) => deployment)
  for (const [name, rules] of named) {
    const spec = await firstSpec(at, name)
    if (spec) {
      const members = spec.network?.members ?? []
      if (members.length === 0)
        throw new ZosError(`Deploy: "${name}", which "${rules[0]!.by}" names, has no network; deploy it again first`, {
          code: 'no-deployment',
        })
      found.set(name, { members })
      continue
    }
    const others: Kept[] = []
    for (const other of before) others.push(...(await keptIn(other.network?.reserved, name, key, readers)))
    for (const other of await othersOf(at, [name, String(wanted[0]?.spec.deployment)]))
      others.push(...(await keptIn(other.network?.reserved, name, key, readers)))
    found.set(name, { kept: keep([...new Set(rules.map(({ workload }) => workload))], others) })
    note(`"${name}", which a rule names, does not run yet: the rule counts as soon as it does`)
  }
  return found
}

/** The first specs of the group's deployments that run or are proposed, but of EXCEPT. */
async function othersOf(at: Reader, except: string[]): Promise<SlotSpec[]> {
  const { context, group } = at
  const names = new Set<string>()
  for (const { subject } of await listProposals(context.grid, group))
    if ('transition' in subject) names.add(subject.transition.name)
  for (const name of await listDeployments(context.grid, group)) names.add(name)
  const found: SlotSpec[] = []
  for (const name of names) {
    if (except.includes(name)) continue
    try {
      const spec = await firstSpec(at, name)
      if (spec) found.push(spec)
    } catch (error) {
      note(`what "${name}" keeps for others is not known: ${reasonOf(error)}`)
    }
  }
  return found
}

/** The keys that the deployments which rules of WANTED name keep for it: both ends have to say so for anything to pass. */
export async function keptFor(at: Reader, wanted: WantedSlot[]): Promise<Kept[]> {
  const own = String(wanted[0]?.spec.deployment)
  const kept: Kept[] = []
  for (const name of new Set(namedBy(wanted).map(({ deployment }) => deployment))) {
    const spec = await firstSpec(at, name)
    const reserved = spec?.network?.reserved
    const its = await keptIn(reserved, own, at.key, at.readers)
    if (its.length === 0 && reserved?.of.some(({ rule }) => rule.startsWith(`${own}/`)))
      note(
        `"${name}" names "${own}" by keys that are not used, as its readers have changed: deploy "${name}" again after this`,
      )
    kept.push(...its)
  }
  return kept
}

/** What the first slot's spec says of the keys that NEIGHBOURS keep, to READERS alone. */
export async function reservedOf(neighbours: Neighbours, readers: Hex[]): Promise<Reserved | undefined> {
  const all = [...neighbours].flatMap(([name, one]) =>
    'kept' in one ? one.kept.map(({ rule, secret }) => ({ rule: `${name}/${rule}`, secret })) : [],
  )
  if (all.length === 0) return undefined
  const secrets = Object.fromEntries(all.map(({ rule, secret }) => [rule, secret]))
  return {
    of: all.map(({ rule, secret }) => ({ rule, address: addressOf(secret) })),
    readers: [...readers],
    secrets: await sealText(JSON.stringify(secrets), readers),
  }
}
