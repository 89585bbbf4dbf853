import { ZosError } from '#codec'
import { createGroup, listKeys, type NewMember, type PublicKey, ROLE, readGroup, readPublicKey } from '#contract'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { checkGroupName, groupBook, groupNamed, keysDir, namedGroups, noteGroup, openContext } from './context.ts'

type Hex = `0x${string}`

/** A key of this home by name, or 0xADDRESS[:0xSEAL] of somebody elsewhere. */
async function memberOf(text: string): Promise<NewMember> {
  const found = /^(0x[0-9a-fA-F]{40})(?::(0x[0-9a-fA-F]{64}))?$/.exec(text)
  if (found)
    return { address: found[1]!.toLowerCase() as Hex, ...(found[2] ? { seal: found[2].toLowerCase() as Hex } : {}) }
  const { address, seal } = await readPublicKey(keysDir(), text)
  return { address, seal }
}

async function create(name: string, members: string[], threshold: string | undefined, json: boolean): Promise<number> {
  checkGroupName(name)
  if (members.length === 0 || !/^\d{1,9}$/.test(threshold ?? ''))
    throw new ZosError('zos group create: write zos group create NAME --member KEY … --threshold N', { code: 'usage' })
  const context = await openContext()
  if (namedGroups(context).some((g) => g.name === name))
    throw new ZosError(`Create group "${name}": there is one of this name; take another`, { code: 'group-exists' })
  const wanted = await Promise.all(members.map(memberOf))
  if (new Set(wanted.map((m) => m.address)).size !== wanted.length)
    throw new ZosError(`Create group "${name}": a member is named twice`, { code: 'member-twice' })
  const { group } = await createGroup(context.grid, context.relayer, { members: wanted, threshold: Number(threshold) })
  await noteGroup({ name, group, contract: context.facts.contract })
  process.stdout.write(json ? `${JSON.stringify({ name, group })}\n` : `${name}: ${group}\n`)
  return 0
}

const nameOf = (keys: PublicKey[], signer: string) => keys.find((k) => k.address === signer)?.name ?? signer

async function show(name: string | undefined, json: boolean): Promise<number> {
  const context = await openContext()
  const entry = groupNamed(context, name)
  const { set } = await readGroup(context.grid, entry.group)
  const keys = await listKeys(keysDir())
  const members = set.members.map((m) => ({
    name: nameOf(keys, m.signer),
    address: m.signer,
    weight: m.weight,
    roles: Object.entries(ROLE).flatMap(([role, bit]) => (m.roles & bit ? [role] : [])),
  }))
  const facts = { name: entry.name, group: entry.group, epoch: set.epoch, thresholds: set.thresholds, members }
  if (json) process.stdout.write(`${JSON.stringify(facts)}\n`)
  else {
    const { deploy, control, wipe, membership } = set.thresholds
    process.stdout.write(
      `group       ${entry.name} ${entry.group}\nepoch       ${set.epoch}\n` +
        `thresholds  deploy ${deploy}, control ${control}, wipe ${wipe}, membership ${membership}\n` +
        table(
          ['MEMBER', 'ADDRESS', 'WEIGHT', 'ROLES'],
          members.map((m) => [m.name, m.address, String(m.weight), m.roles.join(' ')]),
        ),
    )
  }
  return 0
}

/** `zos group create|ls|show`. */
export default async function group(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('group', args, {
    member: { kind: 'list', about: 'a key of this home, or 0xADDRESS[:0xSEAL]' },
    threshold: { kind: 'value', about: 'the weight that agrees on anything' },
    json: JSON_FLAG,
  })
  const [verb, name, ...more] = rest
  if (verb === 'create' && name && more.length === 0) return create(name, flags.member, flags.threshold, flags.json)
  if (verb === 'show' && more.length === 0) return show(name, flags.json)
  if (verb === 'ls' && name === undefined) {
    const all = groupBook()
    const text = table(
      ['NAME', 'GROUP'],
      all.map((g) => [g.name, g.group]),
    )
    process.stdout.write(flags.json ? `${JSON.stringify(all)}\n` : text)
    return 0
  }
  throw new ZosError('zos group: write zos group create NAME --member KEY … --threshold N | ls | show NAME', {
    code: 'usage',
  })
}
