import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type HubCallOptions, keyName } from '#cas'
import { type Domain, hubDomain, type Key, type Spec, signHubPass } from '#contract'
import type { Context } from './context.ts'
import type { GroupEntry } from './group_book.ts'
import { hubKey } from './hub_key.ts'

/** Seconds for which a member's word for a command is good, and after which it is given anew. */
const GOOD = 600
const RENEW = 300

/** What KEY signs for HUB about DOMAIN, so that SECRET may ask there in its name: given anew while it is used. */
export function passFor(
  grid: Domain,
  key: Key,
  at: { domain: string; hub: string; secret: KeyObject },
): HubCallOptions {
  const { domain, hub, secret } = at
  let signed = ''
  let since = Number.NEGATIVE_INFINITY
  const text = () => {
    if (performance.now() - since > RENEW * 1000) {
      since = performance.now()
      const until = Math.floor(Date.now() / 1000) + GOOD
      signed = signHubPass(grid, key, { domain, hub, key: keyName(secret), until })
    }
    return signed
  }
  return { key: secret, pass: { hub, text } }
}

/** The grid's hubs as they are told to keep things for GROUP's deployment NAME alone, by KEY, a member. */
export function hubsFor({ hubs, grid }: Context, key: Key, { group }: GroupEntry, name: string): Pick<Context, 'hubs'> {
  const domain = hubDomain(group, name)
  // where an uploader is known by a key of theirs, that one; else one for this command
  const secret = hubKey() ?? generateKeyPairSync('ed25519').privateKey
  const headers = { 'x-zos-domain': domain }
  return {
    hubs: hubs.map((hub) => hub.as({ ...passFor(grid.domain, key, { domain, hub: hub.label, secret }), headers })),
  }
}

/** The flists of SPEC, and of each whether the group keeps it to itself: what one workload has in public is public. */
export function flistsOf({ workloads }: Spec): Map<string, boolean> {
  const all = new Map<string, boolean>()
  for (const w of workloads) all.set(w.flist!, w.private === true && all.get(w.flist!) !== false)
  return all
}
