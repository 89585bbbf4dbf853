import { PHASE, type Word } from '#contract'

/** A fenced slot as one of its two nodes sees it. */
export type Fenced = {
  /** The slot's index; reports name its standby by 128 more. */
  index: number
  primary: number
  standby: number | undefined
}

/**
 * Who may run the slot as the chain has it: the last of its two nodes that said "running" under the step that counts now;
 * before either did, the primary. What was said under an earlier step no longer counts.
 */
export function holderOf(slot: Fenced, words: readonly Word[], sequence: number): number {
  const last = words.findLast(
    (w) =>
      w.sequence === sequence &&
      w.phase === PHASE.running &&
      ((w.slot === slot.index && w.node === slot.primary) || (w.slot === slot.index + 128 && w.node === slot.standby)),
  )
  return last?.node ?? slot.primary
}

/** Other nodes that ever ran the slot and have not said under this step that they stopped: they may run it still. */
export function rivalsOf(slot: Fenced, me: number, words: readonly Word[], sequence: number): number[] {
  const own = words.filter((w) => w.slot % 128 === slot.index && w.node !== me)
  const ran = new Set(own.filter((w) => w.phase === PHASE.running).map((w) => w.node))
  return [...ran].filter((node) => {
    const last = own.findLast((w) => w.node === node)!
    return last.sequence !== sequence || last.phase !== PHASE.stopped
  })
}
