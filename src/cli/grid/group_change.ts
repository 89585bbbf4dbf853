import { ZosError } from '#codec'
import { draftMembership, listKeys, type NewMember, propose, readGroup, signerOf } from '#contract'
import { type Flags, JSON_FLAG, parseFlags } from '../flags.ts'
import { groupNamed, openContext, signer } from './context.ts'
import { keysDir } from './local.ts'
import { FLAGS, sayProposed } from './steps.ts'
import { freezeOf, memberOf, thresholdsOf, warnOfContracts } from './terms.ts'

/** How long a change of members may be signed. Seconds. */
const DEADLINE = 7 * 86400

const CHANGE = {
  as: FLAGS.as,
  add: { kind: 'list', about: 'a member, as in "create"; one who is in it gets this weight and these roles' },
  remove: { kind: 'list', about: 'a member to leave, by key or address' },
  threshold: { kind: 'list', about: 'N for all, or CLASS=N' },
  freeze: { kind: 'value', about: 'how long one member alone can stop a deployment, such as 72h' },
  json: JSON_FLAG,
} as const satisfies Flags

/** `zos group change NAME --as KEY …`: proposes the next epoch; what was approved but not agreed on before dies with this one. */
export async function change(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('group change', args, CHANGE)
  const [name, ...more] = rest
  const asked = flags.add.length + flags.remove.length + flags.threshold.length + (flags.freeze === undefined ? 0 : 1)
  if (!name || more.length > 0 || asked === 0)
    throw new ZosError(
      'zos group change: write zos group change NAME --as KEY with one or more of --add, --remove, --threshold, --freeze',
      { code: 'usage' },
    )
  await using context = await openContext()
  const entry = groupNamed(context, name)
  const state = await readGroup(context.grid, entry.group)
  const { set } = state
  const members = new Map<string, NewMember>()
  for (const { signer: address, seal, weight, roles } of set.members)
    members.set(address, { address: address as `0x${string}`, seal, weight, roles })
  const keys = await listKeys(keysDir())
  for (const text of flags.remove) {
    const named = keys.find((k) => k.name === text)?.address
    const address = named ? signerOf(context.grid.domain, named) : text.toLowerCase()
    if (!members.delete(address))
      throw new ZosError(`Change group "${name}": "${text}" is not one of its members`, { code: 'not-a-member' })
  }
  for (const text of flags.add) {
    const member = await memberOf(context.grid.domain, text)
    members.set(member.address, member)
  }
  const terms = {
    members: [...members.values()],
    threshold: thresholdsOf(flags.threshold, set.thresholds),
    freezeSeconds: flags.freeze === undefined ? set.freezeSeconds : freezeOf(flags.freeze),
  }
  const key = await signer(flags.as, 'group change')
  const next = draftMembership(state, terms, Math.floor(Date.now() / 1000) + DEADLINE)
  const p = await propose(context.grid, context.relayer, key, { set: next })
  await warnOfContracts(context.grid, next)
  return sayProposed(p, `change group "${name}"`, `epoch ${next.epoch}`, flags.json)
}
