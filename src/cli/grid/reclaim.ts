import { codeOf, ZosError } from '#codec'
import { type Booked, bookedOn, NODE_STATES, reclaimSlot, setNodeState, slotKeyOf } from '#contract'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { type Context, namedGroups, nodesOf, openContext, type PlacedNode } from './context.ts'
import { farmer } from './operator.ts'

const AS = {
  kind: 'value',
  about: "the key that owns the node's farm (on the machine of a local grid: that grid's own)",
} as const

async function nodeNamed(context: Context, command: string, name: string): Promise<PlacedNode> {
  const found = (await nodesOf(context)).find((n) => n.name === name || String(n.id) === name)
  if (found) return found
  throw new ZosError(`zos ${command}: there is no node "${name}"; "zos node ls" lists them`, { code: 'no-node' })
}

/** Whoever is not the owner is told so, with the owner's name for it. */
async function asOwner<T>(command: string, node: PlacedNode, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (cause) {
    if (codeOf(cause) !== 'contract-NotTheOwner') throw cause
    const owner = 'say with --as the key that does; "zos farm ls" shows whose they are'
    throw new ZosError(
      `zos ${command}: this key does not own farm "${node.farmName}" of node "${node.name}": ${owner}`,
      {
        code: 'not-the-owner',
        cause,
      },
    )
  }
}

/** As members write it; a group this home has no name for by the beginning of its id. */
function slotText(context: Context, { group, name, key }: Booked): string {
  const known = namedGroups(context).find((g) => g.group === group)?.name ?? group.slice(0, 12)
  const slot = slotKeyOf(key)
  return `${known}: ${name}/${slot % 128}${slot >= 128 ? ' (standby)' : ''}${key >= 256 ? ' (left by a migration)' : ''}`
}

/**
 * `zos node reclaim NODE`: a step toward having back what groups booked on it: notice of 7 days first, and when that is over the
 * slots. Said again it goes on where it is.
 */
export async function reclaim(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('node reclaim', args, {
    as: AS,
    slot: { kind: 'value', about: 'DEPLOYMENT/N: that one alone, of whichever group' },
    json: JSON_FLAG,
  })
  const [name, ...more] = rest
  const [, deployment, index] = /^([a-z0-9-]+)\/(\d{1,3})$/.exec(flags.slot ?? '') ?? []
  if (!name || more.length > 0 || (flags.slot !== undefined && !deployment))
    throw new ZosError('zos node reclaim: write zos node reclaim NODE [--slot DEPLOYMENT/N] [--as KEY]', {
      code: 'usage',
    })
  await using context = await openContext()
  const node = await nodeNamed(context, 'node reclaim', name)
  const owner = await farmer(flags.as, 'node reclaim')
  const all = await bookedOn(context.grid, node.id)
  const wanted = all.filter(
    (b) => deployment === undefined || (b.name === deployment && slotKeyOf(b.key) % 128 === Number(index)),
  )
  if (deployment !== undefined && wanted.length === 0)
    throw new ZosError(`zos node reclaim: nothing of "${flags.slot}" is booked on node "${node.name}"`, {
      code: 'no-slot',
    })
  const done = []
  for (const slot of wanted)
    done.push(await asOwner('node reclaim', node, () => reclaimSlot(context.grid, owner, slot)))
  const dateOf = (until: number) => new Date(until * 1000).toISOString()
  if (flags.json)
    process.stdout.write(
      `${JSON.stringify(done.map(({ slot: { group, name, key }, until, back }) => ({ group, deployment: name, key, until: dateOf(until), back })))}\n`,
    )
  else if (done.length === 0) process.stdout.write(`nothing is booked on "${node.name}"\n`)
  else
    process.stdout.write(
      table(
        ['SLOT', 'NOW'],
        done.map(({ slot, until, back }) => [
          slotText(context, slot),
          back ? 'taken back' : `its group has notice; yours from ${dateOf(until)} on, when you say this again`,
        ]),
      ),
    )
  return 0
}

/** `zos node state NODE up|drain|down`: whether it takes new slots; what it has it keeps. */
export async function state(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('node state', args, { as: AS, json: JSON_FLAG })
  const [name, to, ...more] = rest
  const wanted = NODE_STATES.find((s) => s === to)
  if (!name || !wanted || more.length > 0)
    throw new ZosError('zos node state: write zos node state NODE up|drain|down [--as KEY]', { code: 'usage' })
  await using context = await openContext()
  const node = await nodeNamed(context, 'node state', name)
  const owner = await farmer(flags.as, 'node state')
  await asOwner('node state', node, () => setNodeState(context.grid, owner, node.id, wanted))
  const words = `${node.name}: ${wanted}${wanted === 'up' ? '' : ': it takes no new slots, and keeps those it has'}\n`
  process.stdout.write(flags.json ? `${JSON.stringify({ name: node.name, state: wanted })}\n` : words)
  return 0
}
