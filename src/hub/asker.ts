import type { IncomingMessage } from 'node:http'
import { signerOfReads, signerOfRequest } from '#cas'
import { ZosError } from '#codec'
import { type HubPass, openHubPass } from '#contract'
import type { Groups } from './groups.ts'

/**
 * Who asks, and with whose leave: BY the Ed25519 key that signed the request, PASS the text by which somebody lets it ask. WRONG:
 * why a signature for reads does not hold, which matters only where not everybody may read.
 */
export type Asker = { by: string | undefined; grant: string | undefined; pass: string | undefined; wrong?: unknown }

/** Signatures remembered: each is checked once as long as it is good. */
const KEPT = 4096

export type Askers = {
  /** Who sent REQ. A signature of a request that does not hold is refused. */
  of(req: IncomingMessage, body: Uint8Array): Asker
  /** What was signed for whoever asks; throws `not-authorized` when it does not hold, here, now and for its key. */
  passOf(asker: Asker): Promise<HubPass>
}

/** The most recent of what costs a signature to know, until it is over. */
function remembered<T extends { until: number }>() {
  const known = new Map<string, T>()
  return (text: string, make: () => T): T => {
    const found = known.get(text)
    if (found && found.until >= Date.now() / 1000) return found
    known.delete(text)
    const made = make()
    for (const other of known.keys()) if (known.size >= KEPT) known.delete(other)
    known.set(text, made)
    return made
  }
}

/** NAMES: the addresses by which this hub is known. */
export function openAskers(names: readonly string[], groups: Groups | undefined): Askers {
  const reads = remembered<{ by: string; until: number }>()
  const passes = remembered<HubPass>()
  const refuse = (reason: string) => new ZosError(`Check who asks: ${reason}`, { code: 'not-authorized' })
  const text = (value: string | string[] | undefined) => (typeof value === 'string' ? value : undefined)

  return {
    of(req, body) {
      const { authorization, 'x-zos-grant': grant, 'x-zos-for': pass } = req.headers
      const leave = { grant: text(grant), pass: text(pass) }
      const reading = authorization?.startsWith('ZOS1-READS ') && (req.method === 'GET' || req.method === 'HEAD')
      if (!reading)
        return { by: signerOfRequest(authorization, { method: req.method!, path: req.url!, body }), ...leave }
      try {
        return { by: reads(authorization!, () => signerOfReads(authorization!, names)).by, ...leave }
      } catch (wrong) {
        return { by: undefined, ...leave, wrong }
      }
    },
    async passOf({ by, pass: said, wrong }) {
      if (wrong !== undefined) throw wrong
      if (!groups) throw refuse('this hub keeps nothing for groups; it is started with --grid FILE for that')
      if (said === undefined || by === undefined) throw refuse('sign the request, and say with x-zos-for for whom')
      const { domain } = await groups.grid()
      const pass = passes(said, () => openHubPass(domain, said))
      if (!names.includes(pass.hub)) throw refuse(`it is for the hub "${pass.hub}", this is "${names.join('" or "')}"`)
      if (pass.key !== by) throw refuse(`it is for the key ${pass.key}, the request is signed by ${by}`)
      return pass
    },
  }
}
