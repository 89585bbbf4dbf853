import { ZosError } from '#codec'
import type { Key } from '../keys/keys.ts'
import { type Domain, digestOf } from './digest.ts'
import { signedBy, signerOf } from './passkey.ts'

type Hex = `0x${string}`

/**
 * A signed HubKey. DOMAIN is `GROUP/NAME` (64 hex digits without 0x, a deployment's name), or `*` for all in which the signer
 * may read; HUB is the hub's address as the signer was told it; KEY names the Ed25519 key (64 hex digits) that may use it.
 */
export type HubPass = { domain: string; hub: string; key: string; until: number; signer: Hex }

/** The longest that one may last, for readers that a member names. Seconds. */
const LONGEST = 30 * 86_400

const PASS =
  /^(\*|[0-9a-f]{64}\/(?!-)[a-z0-9-]{1,63}(?<!-)) ([!-~]{1,200}) ([0-9a-f]{64}) (\d{1,12}) (0x[0-9a-f]{40,2048}) (0x[0-9a-f]{128,4096})$/

/** The name of a deployment's domain at hubs. */
export const hubDomain = (group: Hex, name: string): string => `${group.slice(2)}/${name}`

const messageOf = ({ key, ...rest }: Omit<HubPass, 'signer'>) => ({ ...rest, key: `0x${key}` as Hex })

/** What goes into the `x-zos-for` header, signed by the KEY of a member or node. docs/formats/hub.md. */
export function signHubPass(domain: Domain, key: Key, pass: Omit<HubPass, 'signer'>): string {
  const signature = key.sign(digestOf(domain, 'HubKey', messageOf(pass)))
  return `${pass.domain} ${pass.hub} ${pass.key} ${pass.until} ${signerOf(domain, key.address)} ${signature}`
}

/** Reads and checks the signature of such a header; throws `not-authorized` when it is not the signer's, or over. */
export function openHubPass(domain: Domain, text: string, now = Date.now() / 1000): HubPass {
  const refuse = (reason: string) => new ZosError(`Check who asks: ${reason}`, { code: 'not-authorized' })
  const [, name, hub, key, at, signer, signature] = PASS.exec(text) ?? []
  if (!name || !hub || !key) throw refuse('the header is not of the form "DOMAIN HUB KEY UNTIL SIGNER SIGNATURE"')
  const pass = { domain: name, hub, key, until: Number(at), signer: signer as Hex }
  if (pass.until < now) throw refuse(`what ${signer} signed is over since ${Math.ceil(now - pass.until)} s; sign anew`)
  if (pass.until > now + LONGEST) throw refuse(`it is good for more than ${LONGEST / 86_400} days`)
  const { signer: _, ...said } = pass
  if (!signedBy(domain, pass.signer, digestOf(domain, 'HubKey', messageOf(said)), signature as Hex))
    throw refuse(
      `it is not signed by ${signer} for this domain, hub, key and chain (a contract wallet cannot: one of its group's keys has to)`,
    )
  return pass
}
