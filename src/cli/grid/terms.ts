import { ZosError } from '#codec'
import {
  contractMembers,
  type Domain,
  type Grid,
  type MemberSet,
  type NewMember,
  passkeySigner,
  ROLE,
  readPublicKey,
  signerOf,
} from '#contract'
import { keysDir } from './local.ts'

type Hex = `0x${string}`
type Thresholds = MemberSet['thresholds']

const bad = (what: string, text: string, how: string) =>
  new ZosError(`Read ${what} "${text}": ${how}`, { code: 'bad-terms' })

function rolesOf(text: string): number {
  const roles = text.split('+').map((r): number => (Object.hasOwn(ROLE, r) ? ROLE[r as keyof typeof ROLE] : 0))
  if (roles.includes(0)) throw bad('roles', text, 'take approve, stop and read, joined by "+"')
  return roles.reduce((all, role) => all | role, 0)
}

/** What --member and --add take. */
export const MEMBER =
  'KEY, 0xADDRESS, passkey:0xPUBLIC or p256:0xPUBLIC, elsewhere with :0xSEAL; then [,weight=N][,roles=A+B]'

/**
 * A key of this home by name; or of somebody elsewhere an address (a key's, or a contract wallet's) or the 64 bytes of a
 * P-256 public key, with the X25519 key specs are sealed to. Behind commas weight=N and roles=approve+stop+read.
 */
export async function memberOf(domain: Domain, text: string): Promise<NewMember> {
  const [who = '', ...more] = text.split(',')
  const member = elsewhere(domain, who) ?? (await atHome(domain, who))
  for (const part of more) {
    const [name, value = ''] = part.split('=')
    if (name === 'weight' && /^\d{1,9}$/.test(value)) member.weight = Number(value)
    else if (name === 'roles') member.roles = rolesOf(value)
    else throw bad('member', text, `write ${MEMBER}`)
  }
  return member
}

async function atHome(domain: Domain, name: string): Promise<NewMember> {
  if (/^(0x|passkey:|p256:)/.test(name)) throw bad('member', name, `write ${MEMBER}`)
  const { address, seal } = await readPublicKey(keysDir(), name)
  return { address: signerOf(domain, address), seal }
}

function elsewhere(domain: Domain, who: string): NewMember | undefined {
  const found = /^(?:0x([0-9a-f]{40})|(passkey|p256):0x([0-9a-f]{128}))(?::(0x[0-9a-f]{64}))?$/i.exec(who)
  if (!found) return undefined
  const [, address, scheme, key, seal] = found.map((part) => part?.toLowerCase())
  return {
    address: address
      ? `0x${address}`
      : passkeySigner(domain, scheme === 'p256' ? 'p256' : 'webauthn', `0x${key}` as Hex),
    ...(seal ? { seal: seal as Hex } : {}),
  }
}

/** "2" for all classes, "wipe=3" for one; the later word counts. FROM: those that count until now. */
export function thresholdsOf(texts: readonly string[], from?: Thresholds): Thresholds {
  const found: Partial<Thresholds> = { ...from }
  for (const text of texts) {
    const [, name, n] = /^(?:(deploy|control|wipe|membership)=)?(\d{1,9})$/.exec(text) ?? []
    if (n === undefined)
      throw bad('threshold', text, 'write N for all, or deploy=N, control=N (thaw, cancel), wipe=N, membership=N')
    const classes = name === undefined ? ['deploy', 'control', 'wipe', 'membership'] : [name]
    for (const c of classes) found[c as keyof Thresholds] = Number(n)
  }
  const { deploy, control, wipe, membership } = found
  if (deploy && control && wipe && membership) return { deploy, control, wipe, membership }
  throw bad(
    'threshold',
    texts.join(' '),
    'a threshold of at least 1 is due for each of deploy, control, wipe, membership',
  )
}

/** "72h": how long one member alone can stop a deployment, in seconds. */
export function freezeOf(text: string): number {
  const [, n, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const seconds = Number(n) * { s: 1, m: 60, h: 3600, d: 86400 }[(unit ?? 's') as 's' | 'm' | 'h' | 'd']
  if (seconds >= 60 && seconds <= 180 * 86400) return seconds
  throw bad('freeze time', text, 'take 60s to 180d')
}

/** Says of members that are contracts what they cannot do. */
export async function warnOfContracts(grid: Grid, set: Pick<MemberSet, 'members'>): Promise<void> {
  for (const address of await contractMembers(grid, set))
    process.stderr.write(
      `note: member ${address} is a contract: its approvals count on nodes only with a proven state of the chain, and "zos log --verify" cannot check them\n`,
    )
}
