import { codeOf, reasonOf } from '#codec'
import { expire, type Grid, type Key, type Relayer, signBeat, signReport } from '#contract'
import type { Pinned, Said } from './pinned.ts'
import type { Post } from './post.ts'

type Hex = `0x${string}`

/** A slot whose state flaps is reported at most so often. Milliseconds. */
const CALM = 5000
/** Seconds the chain's clock may be behind ours. */
const BEHIND = 2

/** Brings to the chain what changed since it last took our word; true when it took something. */
export function reporter(at: {
  grid: Grid
  post: Post
  account: Relayer
  key: Key
  node: number
  log: (line: string) => void
}) {
  const { grid, account, key, node, log } = at
  const last = new Map<string, number>()

  const post = async (id: Hex, d: Pinned['deployments'][Hex], slot: number, now: Said) => {
    const { sequence } = now
    // of a step that is no longer the last: the next look says what is so now
    if (sequence !== d.consent.sequence) return false
    const before = d.said[slot]
    const same = before?.sequence === sequence && before.phase === now.phase && before.reason === now.reason
    if (same) return false
    const flapping = before?.sequence === sequence && Date.now() - (last.get(`${id} ${slot}`) ?? 0) < CALM
    if (flapping) return false
    last.set(`${id} ${slot}`, Date.now())
    try {
      const word = signReport(grid, key, { group: d.group, name: d.name, slot, node, ...now })
      await at.post(grid, account, word)
    } catch (error) {
      // the chain has given the slot to others already: it needs no word of ours
      const gone = codeOf(error) === 'contract-NotTheOwner'
      if (gone) d.said[slot] = now
      if (gone) return true
      log(`report ${d.name}/${slot} ${now.phase}: ${reasonOf(error)}`)
      return false
    }
    d.said[slot] = now
    return true
  }

  /** Consent that ended by time alone: whoever has a slot of it tells the chain, so that what was booked is free again. */
  const overdue = async (d: Pinned['deployments'][Hex]) => {
    const expiry = d.consent.placed?.expiry ?? 0
    if (expiry === 0 || Date.now() / 1000 < expiry + BEHIND) return
    const due = Date.now() - (last.get(`${d.group} ${d.name}`) ?? 0) > CALM
    if (!due) return
    last.set(`${d.group} ${d.name}`, Date.now())
    await expire(grid, account, d.group, d.name).catch((error: unknown) => {
      // another was first, or the chain's clock is far behind ours
      if (!codeOf(error).startsWith('contract-')) throw error
    })
  }

  return {
    async slots(pinned: Pinned, now: Map<Hex, Map<number, Said>>): Promise<boolean> {
      let changed = false
      for (const [id, slots] of now) {
        const d = pinned.deployments[id]!
        // of what ended the chain keeps no slot: nobody waits for a word
        if (d.consent.status !== 'active') continue
        await overdue(d)
        for (const [slot, said] of slots) changed = (await post(id, d, slot, said)) || changed
      }
      return changed
    },
    async beat(): Promise<void> {
      const { signature, ...beat } = signBeat(grid, key, node, Math.floor(Date.now() / 1000))
      await at.post(grid, account, { beat, signature })
    },
  }
}
