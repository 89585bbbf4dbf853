import { type Domain, type Key, signHubPass } from '#contract'
import type { Pass } from '../network/shown.ts'

/** Seconds for which the network plane may ask hubs in the node's name, and after which it is told anew. */
const GOOD = 600
const RENEW = 300

/** What the node signs for the hubs, so that its network plane, which has no key of it, may fetch what is placed here. */
export function hubPasses(domain: Domain, key: Key) {
  let last = ''
  let since = Number.NEGATIVE_INFINITY
  /** Gives TELL what HUBKEY may show at HUBS, unless what it took last is good for some time still. */
  return async (hubs: readonly string[], hubKey: string, tell: (passes: Pass[]) => Promise<unknown>): Promise<void> => {
    const wanted = [hubKey, ...hubs].join(' ')
    if (wanted === last && performance.now() - since < RENEW * 1000) return
    const begun = performance.now()
    const until = Math.floor(Date.now() / 1000) + GOOD
    const sign = (hub: string) => signHubPass(domain, key, { domain: '*', hub, key: hubKey, until })
    await tell(hubs.map((hub) => ({ hub, until, text: sign(hub) })))
    last = wanted
    since = begun
  }
}
