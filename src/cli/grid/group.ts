import { ZosError } from '#codec'
import {
  contractMembers,
  createGroup,
  type Domain,
  listKeys,
  type Member,
  type PublicKey,
  ROLE,
  readGroup,
  type SignerKind,
  sayTime,
  signerKind,
  signerOf,
} from '#contract'
import { type Flags, JSON_FLAG, parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { groupNamed, namedGroups, openContext } from './context.ts'
import { checkGroupName, groupBook, noteGroup } from './group_book.ts'
import { keysDir } from './local.ts'
import { freezeOf, MEMBER, memberOf, thresholdsOf, warnOfContracts } from './terms.ts'

const CREATE = {
  member: { kind: 'list', about: MEMBER },
  threshold: {
    kind: 'list',
    about: 'the weight that decides: N for all, or deploy=N, control=N, wipe=N, membership=N',
  },
  freeze: { kind: 'value', about: 'how long one member alone can stop a deployment (72h)' },
  json: JSON_FLAG,
} as const satisfies Flags

/** Needs no approval: a group's id commits to its founding members. */
async function create(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('group create', args, CREATE)
  const [name, ...more] = rest
  if (!name || more.length > 0 || flags.member.length === 0 || flags.threshold.length === 0)
    throw new ZosError('zos group create: write zos group create NAME --member KEY … --threshold N', { code: 'usage' })
  checkGroupName(name)
  await using context = await openContext()
  const terms = {
    members: await Promise.all(flags.member.map((text) => memberOf(context.grid.domain, text))),
    threshold: thresholdsOf(flags.threshold),
    ...(flags.freeze === undefined ? {} : { freezeSeconds: freezeOf(flags.freeze) }),
  }
  if (new Set(terms.members.map((m) => m.address)).size !== terms.members.length)
    throw new ZosError(`Create group "${name}": a member is named twice`, { code: 'member-twice' })
  if (namedGroups(context).some((g) => g.name === name))
    throw new ZosError(`Create group "${name}": there is one of this name; take another`, { code: 'group-exists' })
  const { group, set } = await createGroup(context.grid, context.relayer, terms)
  await warnOfContracts(context.grid, set)
  if (!(await noteGroup({ name, group, contract: context.facts.contract })))
    throw new ZosError(
      `Name group "${name}": another took the name meanwhile; this one is there, by its id: --group ${group}`,
      { code: 'group-exists' },
    )
  process.stdout.write(flags.json ? `${JSON.stringify({ name, group })}\n` : `${name}: ${group}\n`)
  return 0
}

const KINDS: Record<SignerKind, string> = { address: 'key', p256: 'P-256 key', webauthn: 'passkey', other: 'contract' }

/** As one of KEYS is called here; a member whose key is elsewhere by its address. */
export const memberName = (keys: readonly PublicKey[], domain: Domain, { signer }: Pick<Member, 'signer'>): string =>
  keys.find((k) => signerOf(domain, k.address) === signer)?.name ?? signer

async function show(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('group show', args, { json: JSON_FLAG })
  const [name, ...more] = rest
  if (more.length > 0) throw usage()
  await using context = await openContext()
  const entry = groupNamed(context, name)
  const { set, domain } = await readGroup(context.grid, entry.group)
  const [keys, contracts] = await Promise.all([listKeys(keysDir()), contractMembers(context.grid, set)])
  const members = set.members.map((m) => ({
    name: memberName(keys, domain, m),
    address: m.signer,
    kind: contracts.has(m.signer) ? 'contract' : KINDS[signerKind(domain, m.signer)],
    weight: m.weight,
    roles: Object.entries(ROLE).flatMap(([role, bit]) => (m.roles & bit ? [role] : [])),
  }))
  const facts = {
    name: entry.name,
    group: entry.group,
    epoch: set.epoch,
    thresholds: set.thresholds,
    freezeSeconds: set.freezeSeconds,
    members,
  }
  if (flags.json) process.stdout.write(`${JSON.stringify(facts)}\n`)
  else {
    const { deploy, control, wipe, membership } = set.thresholds
    process.stdout.write(
      `group       ${entry.name} ${entry.group}\nepoch       ${set.epoch}\n` +
        `thresholds  deploy ${deploy}, control ${control}, wipe ${wipe}, membership ${membership}\nfreeze      ${sayTime(set.freezeSeconds)} by one member\n` +
        table(
          ['MEMBER', 'KIND', 'ADDRESS', 'WEIGHT', 'ROLES'],
          members.map((m) => [m.name, m.kind, m.address, String(m.weight), m.roles.join(' ')]),
        ),
    )
  }
  return 0
}

function ls(args: string[]): number {
  const { flags, rest } = parseFlags('group ls', args, { json: JSON_FLAG })
  if (rest.length > 0) throw usage()
  const all = groupBook()
  const text = table(
    ['NAME', 'GROUP', 'GRID'],
    all.map((g) => [g.name, g.group, g.contract]),
  )
  process.stdout.write(flags.json ? `${JSON.stringify(all)}\n` : text)
  return 0
}

const usage = () =>
  new ZosError('zos group: write zos group create NAME … | change NAME … | ls | show NAME', { code: 'usage' })

/** `zos group create|change|ls|show`. */
export default async function group(args: string[]): Promise<number> {
  const [verb, ...rest] = args
  if (verb === 'create') return create(rest)
  if (verb === 'change') return (await import('./group_change.ts')).change(rest)
  if (verb === 'show') return show(rest)
  if (verb === 'ls') return ls(rest)
  throw usage()
}
