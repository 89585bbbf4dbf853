import { ZosError } from '#codec'
import {
  approve as approveNow,
  listGroups,
  listProposals,
  type Proposal,
  placeOf,
  readConsent,
  readGroup,
  whyClosed,
} from '#contract'
import { parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { type Context, groupNamed, namedGroups, openContext, signer } from './context.ts'
import { FLAGS } from './steps.ts'
import { wordsOf } from './words.ts'

/** `zos proposals`: what waits for approvals. */
export async function proposals(args: string[]): Promise<number> {
  const { flags } = parseFlags('proposals', args, { group: FLAGS.group, json: FLAGS.json })
  await using context = await openContext()
  const open = await listProposals(context.grid, groupNamed(context, flags.group).group)
  const facts = open.map(({ id, deployment, kind, approvals, needs }) => ({ id, deployment, kind, approvals, needs }))
  // signed at one moment by its last two, say: nobody has brought it to the chain
  const waits = (p: { approvals: number; needs: number }) =>
    p.approvals < p.needs ? '' : ', "zos approve" it once more'
  const rows = facts.map((p) => [p.id, p.deployment, p.kind, `${p.approvals} of ${p.needs}${waits(p)}`])
  process.stdout.write(
    flags.json ? `${JSON.stringify(facts)}\n` : table(['ID', 'DEPLOYMENT', 'KIND', 'APPROVALS'], rows),
  )
  return 0
}

/** The one open proposal whose id begins with TEXT, in the groups known here, else in any. */
async function find(context: Context, text: string, said: string | undefined): Promise<Proposal> {
  const begin = text.toLowerCase()
  if (!/^0x[0-9a-f]{6,64}$/.test(begin))
    throw new ZosError(
      `Find proposal "${text}": write its id, "0x" and 6 digits of it at least; "zos proposals" lists them`,
      { code: 'no-proposal' },
    )
  const look = async (groups: `0x${string}`[]) => {
    const all = (await Promise.all(groups.map((g) => listProposals(context.grid, g)))).flat()
    return all.filter((p) => p.id.startsWith(begin))
  }
  const mine = said === undefined ? namedGroups(context).map((g) => g.group) : [groupNamed(context, said).group]
  let found = await look(mine)
  if (found.length === 0 && said === undefined) found = await look((await listGroups(context.grid)).map((g) => g.group))
  if (found.length === 1) return found[0]!
  const closed = found.length === 0 ? await Promise.all(mine.map((g) => whyClosed(context.grid, g, begin))) : []
  throw new ZosError(
    found.length === 0
      ? `Find proposal "${text}": ${closed.find(Boolean) ?? 'no open one has this id; "zos proposals" lists them'}`
      : `Find proposal "${text}": ${found.length} ids begin so; write more of it`,
    { code: 'no-proposal' },
  )
}

/** `zos approve P --as KEY`: says in words what is signed, then signs it; the approval that completes the weight also submits. */
export async function approve(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('approve', args, FLAGS)
  const [id, ...more] = rest
  if (!id || more.length > 0) throw new ZosError('zos approve: write zos approve PROPOSAL --as KEY', { code: 'usage' })
  await using context = await openContext()
  const key = await signer(flags.as, 'approve')
  const p = await find(context, id, flags.group)
  const state = await readGroup(context.grid, p.group)
  const member = placeOf(state, key.address)
  const isSigned = p.signatures.some((s) => s.member === member)
  if (isSigned && p.approvals < p.needs)
    throw new ZosError(`Approve "${id}": "${key.name}" approved it before`, { code: 'approved-before' })
  const before = 'set' in p.subject ? null : (await readConsent(context.grid, p.group, p.deployment)).state.placed
  const words = await wordsOf(context, key, p, before)
  if (!flags.json) process.stdout.write(`${words.join('\n')}\n`)
  const done = await approveNow(context.grid, context.relayer, key, p.group, p.id)
  const facts = {
    id: p.id,
    deployment: p.deployment,
    kind: p.kind,
    approvals: done.approvals,
    needs: done.needs,
    agreed: done.agreed,
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ ...facts, words })}\n`)
  else
    process.stdout.write(
      `signed${isSigned ? ' before' : ''} as "${key.name}": ${done.approvals} of ${done.needs}${facts.agreed ? ', agreed on' : ''}\n`,
    )
  return 0
}
