import { codeOf, reasonOf } from '#codec'
import { type Grid, type Key, type Relayer, sendBeats, sendReport, signBeat, signReport } from '#contract'
import type { Pinned, Said } from './pinned.ts'

type Hex = `0x${string}`

/** A slot whose state flaps is reported at most so often. Milliseconds. */
const CALM = 5000

/** Posts what changed since the chain last took our word; true when it took something. */
export function reporter(at: { grid: Grid; relayer: Relayer; key: Key; node: number; log: (line: string) => void }) {
  const { grid, relayer, key, node, log } = at
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
      await sendReport(grid, relayer, signReport(grid, key, { group: d.group, name: d.name, slot, node, ...now }))
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

  return {
    async slots(pinned: Pinned, now: Map<Hex, Map<number, Said>>): Promise<boolean> {
      let changed = false
      for (const [id, slots] of now) {
        const d = pinned.deployments[id]!
        // of what ended the chain keeps no slot: nobody waits for a word
        if (d.consent.status !== 'active') continue
        for (const [slot, said] of slots) changed = (await post(id, d, slot, said)) || changed
      }
      return changed
    },
    beat: () => sendBeats(grid, relayer, [signBeat(grid, key, node, Math.floor(Date.now() / 1000))]),
  }
}
