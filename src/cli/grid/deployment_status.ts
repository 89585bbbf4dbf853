import { ZosError } from '#codec'
import { listProposals, notFinalYet, readConsent, readDeployment, type SlotStatus } from '#contract'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { type Context, groupOfDeployment, nodesOf, openContext, silenceOf } from './context.ts'

export type SlotView = {
  slot: number
  /** Takes over when its primary fails. */
  standby?: true
  node: string
  farm: string
  country: string
  /** What its node runs; 0 before it has run any. */
  version: number
  state: 'reserved' | 'running' | 'failed' | 'stopped' | 'released'
  reason: string
  /** When its node said so; it says what changed, so of one that was down meanwhile this is not known. */
  since: string | null
  /** From when on its farmer may take it back, where notice of that was given. */
  notice?: string
}

export type DeploymentView = {
  name: string
  version: number
  state: 'proposed' | 'running' | 'frozen' | 'cancelled'
  slots: SlotView[]
}

/** What its node last said, and what else is known of it: NOTES. */
function whyOf({ phase, said }: SlotStatus, ...notes: (string | undefined)[]): string {
  // of the node's last words there are none on it: the chain takes no report of a slot that is not booked
  if (phase === 'released')
    return 'its farmer took it back after the notice; its data stays there for 30 days: place it anew'
  const words = phase === 'reserved' ? 'its node has not reported this version yet' : (said?.reason ?? '')
  return [words, ...notes].filter(Boolean).join('; ')
}

/** A deployment as the group agreed on it, and what its nodes last said. */
export async function viewOf(context: Context, group: `0x${string}`, name: string): Promise<DeploymentView> {
  const { grid } = context
  const [d, { state, log }, nodes] = await Promise.all([
    readDeployment(grid, group, name),
    readConsent(grid, group, name),
    nodesOf(context),
  ])
  if (state.status === 'none') {
    // agreed on in a block that is not final yet is as good as proposed: no node acts on it
    const isComing = d.state !== 'none' || (await listProposals(grid, group)).some((p) => p.deployment === name)
    if (!isComing) {
      const none = `the group has none of that name, nor a proposal for one${await notFinalYet(grid)}`
      throw new ZosError(`Show deployment "${name}": ${none}`, { code: 'no-deployment' })
    }
    return { name, version: 0, state: 'proposed', slots: [] }
  }
  const versions = new Map(log!.approvals.map(({ transition: t }) => [t.sequence, t.version]))
  const slots = d.slots.map((s): SlotView => {
    const node = nodes.find((n) => n.id === s.node)
    const { said } = s
    const notice = s.notice > 0 ? new Date(s.notice * 1000).toISOString() : undefined
    return {
      slot: s.index,
      ...(s.standby ? { standby: true as const } : {}),
      node: node?.name ?? String(s.node),
      farm: node?.farmName ?? '',
      country: node?.country ?? '',
      version: (said && versions.get(said.sequence)) ?? 0,
      state: s.phase,
      reason: whyOf(
        s,
        node && silenceOf(node),
        notice && `its farmer may take it back from ${notice} on: "zos migrate ${name}/${s.index} --to NODE"`,
      ),
      since: said ? new Date(said.time * 1000).toISOString() : null,
      ...(notice === undefined ? {} : { notice }),
    }
  })
  const ended = d.state !== 'active'
  return { name, version: state.version, state: ended ? 'cancelled' : d.frozen ? 'frozen' : 'running', slots }
}

/** `zos status DEPLOYMENT`. */
export async function deploymentStatus(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('status', args, {
    group: { kind: 'value', about: 'by name or id' },
    json: JSON_FLAG,
  })
  const name = rest[0]!
  await using context = await openContext()
  const group = await groupOfDeployment(context, name, flags.group)
  const view = await viewOf(context, group.group, name)
  if (flags.json) process.stdout.write(`${JSON.stringify(view)}\n`)
  else {
    process.stdout.write(`${view.name}  version ${view.version}, ${view.state}\n`)
    const rows = view.slots.map((s) => [
      `${name}/${s.slot}${s.standby ? ' (standby)' : ''}`,
      s.node,
      s.farm,
      s.country,
      String(s.version),
      s.state,
      s.reason,
      s.since ?? '',
    ])
    process.stdout.write(table(['SLOT', 'NODE', 'FARM', 'COUNTRY', 'VERSION', 'STATE', 'REASON', 'SINCE'], rows))
  }
  return 0
}
