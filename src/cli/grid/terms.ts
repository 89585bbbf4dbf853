import { ZosError } from '#codec'
import { type MemberSet, type NewMember, ROLE, readPublicKey } from '#contract'
import { keysDir } from './context.ts'

type Hex = `0x${string}`
type Thresholds = MemberSet['thresholds']

const bad = (what: string, text: string, how: string) =>
  new ZosError(`Read ${what} "${text}": ${how}`, { code: 'bad-terms' })

function rolesOf(text: string): number {
  const roles = text.split('+').map((r): number => (Object.hasOwn(ROLE, r) ? ROLE[r as keyof typeof ROLE] : 0))
  if (roles.includes(0)) throw bad('roles', text, 'take approve, stop and read, joined by "+"')
  return roles.reduce((all, role) => all | role, 0)
}

/** A key of this home by name, or 0xADDRESS[:0xSEAL] of somebody elsewhere; behind commas weight=N and roles=A+B. */
export async function memberOf(text: string): Promise<NewMember> {
  const [who = '', ...more] = text.split(',')
  const elsewhere = /^(0x[0-9a-fA-F]{40})(?::(0x[0-9a-fA-F]{64}))?$/.exec(who)
  const member: NewMember = elsewhere
    ? { address: elsewhere[1]!.toLowerCase() as Hex, ...(elsewhere[2] ? { seal: elsewhere[2] as Hex } : {}) }
    : await readPublicKey(keysDir(), who).then(({ address, seal }) => ({ address, seal }))
  for (const part of more) {
    const [name, value = ''] = part.split('=')
    if (name === 'weight' && /^\d{1,9}$/.test(value)) member.weight = Number(value)
    else if (name === 'roles') member.roles = rolesOf(value)
    else throw bad('member', text, 'write KEY[,weight=N][,roles=approve+stop+read]')
  }
  return member
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
