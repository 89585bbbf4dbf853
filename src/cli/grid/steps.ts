import { ZosError } from '#codec'
import {
  type Consent,
  type Draft,
  draftTransition,
  freeze as freezeNow,
  type Key,
  type Kind,
  notFinalYet,
  propose,
  readConsent,
  type Signed,
  undoOf,
} from '#contract'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { type Context, groupOfDeployment, openContext, signer } from './context.ts'
import type { GroupEntry } from './group_book.ts'
import { refuseShrunkTo } from './volumes.ts'

/** A deployment a command is about, and who acts. */
export type Act = { context: Context; key: Key; group: GroupEntry; name: string; consent: Consent; json: boolean }

/** With the way to the grid that was opened for it. */
type OpenAct = Act & AsyncDisposable

export const FLAGS = {
  group: { kind: 'value', about: 'by name or id' },
  as: { kind: 'value', about: 'the key that signs; KEY@0xADDRESS for a contract wallet' },
  json: JSON_FLAG,
} as const

/** Opens what `zos VERB DEPLOYMENT --group G --as KEY` names. */
export async function openAct(command: string, args: string[]): Promise<OpenAct> {
  const { flags, rest } = parseFlags(command, args, FLAGS)
  return openNamed(command, flags, rest)
}

type Said = { group: string | undefined; as: string | undefined; json: boolean }

async function openNamed(command: string, flags: Said, rest: string[]): Promise<OpenAct> {
  const [name, ...more] = rest
  if (!name || more.length > 0)
    throw new ZosError(`zos ${command}: write zos ${command} DEPLOYMENT --group GROUP --as KEY`, { code: 'usage' })
  await using stack = new AsyncDisposableStack()
  const context = stack.use(await openContext())
  const group = await groupOfDeployment(context, name, flags.group)
  const key = await signer(flags.as, command)
  const consent = await readConsent(context.grid, group.group, name)
  const kept = stack.move()
  return { context, key, group, name, consent, json: flags.json, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/** Proposes the deployment's next step, signed as its first approval, and says how it stands. */
export async function proposeStep(act: Act, kind: Kind, draft: Draft = {}): Promise<number> {
  const { context, key, group, name, consent } = act
  if (consent.state.status === 'none' && kind !== 'deploy')
    throw new ZosError(
      `Propose to ${kind} "${name}": group "${group.name}" has no such deployment${await notFinalYet(context.grid)}`,
      {
        code: 'no-deployment',
      },
    )
  const transition = draftTransition(consent.group, consent.state, kind, draft)
  const p = await propose(context.grid, context.relayer, key, { transition })
  return sayProposed(p, `${kind} "${name}"`, `version ${transition.version}`, act.json)
}

/** Says how a proposal stands, WHAT it would do, and what came of it where one approval was enough. */
export function sayProposed(p: Signed, what: string, result: string, json: boolean): number {
  const facts = { id: p.id, deployment: p.deployment, kind: p.kind, approvals: p.approvals, needs: p.needs }
  const others = `others: zos approve ${p.id.slice(0, 12)} --as KEY`
  if (json) process.stdout.write(`${JSON.stringify(facts)}\n`)
  else if (p.agreed) process.stdout.write(`${what}: agreed on, ${result}\n`)
  else process.stdout.write(`${p.id}\n${what}: proposed, ${p.approvals} of ${p.needs} approvals; ${others}\n`)
  return 0
}

const simple = (kind: Kind) => async (args: string[]) => {
  await using act = await openAct(kind, args)
  return await proposeStep(act, kind)
}

export const cancel = simple('cancel')
export const wipe = simple('wipe')

export async function thaw(args: string[]): Promise<number> {
  await using act = await openAct('thaw', args)
  if (act.consent.state.status === 'active' && act.consent.state.frozenUntil <= Date.now() / 1000)
    throw new ZosError(`Propose to thaw "${act.name}": it is not frozen`, { code: 'not-frozen' })
  return await proposeStep(act, 'thaw')
}

/** At once, by one member alone, for as long as the group lets one; with --hold a proposal to keep it so until thawed. */
export async function freeze(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('freeze', args, {
    ...FLAGS,
    hold: { kind: 'switch', about: 'propose to keep it frozen until it is thawed' },
  })
  await using act = await openNamed('freeze', flags, rest)
  if (flags.hold) return await proposeStep(act, 'freeze')
  const { until } = await freezeNow(act.context.grid, act.context.relayer, act.key, act.group.group, act.name)
  const text = new Date(until * 1000).toISOString()
  process.stdout.write(
    act.json ? `${JSON.stringify({ until })}\n` : `"${act.name}" is frozen until ${text}, or until thawed\n`,
  )
  return 0
}

/** Back to the newest earlier version with another spec, as a new version with the same consent: its blobs are still at the hub. */
export async function undo(args: string[]): Promise<number> {
  await using act = await openAct('undo', args)
  const { log, state } = act.consent
  if (!log)
    throw new ZosError(
      `Propose to undo "${act.name}": group "${act.group.name}" has no such deployment${await notFinalYet(act.context.grid)}`,
      {
        code: 'no-deployment',
      },
    )
  const { draft } = undoOf(log, state)
  await refuseShrunkTo(act, draft)
  return await proposeStep(act, 'undo', draft)
}
