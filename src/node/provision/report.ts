import { codeOf, reasonOf } from '#codec'
import {
  expire,
  type Grid,
  type Key,
  type Relayer,
  readReports,
  type SignedWord,
  signBeat,
  signReport,
} from '#contract'
import type { Pinned, Said } from './pinned.ts'
import type { Post } from './post.ts'

type Hex = `0x${string}`

/** A slot whose state flaps is reported at most so often. Milliseconds. */
const CALM = 5000
/** After a word that could not be brought to the chain, doubled with each; milliseconds. */
const AGAIN = 5000
const LONGEST = 60_000
/** Seconds the chain's clock may be behind ours. */
const BEHIND = 2

const isSame = (a: Said, b: Said): boolean => a.sequence === b.sequence && a.phase === b.phase && a.reason === b.reason

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
  /** Words that could not be brought there yet, as they were signed: a relayer that was given one may still post it. */
  const waiting = new Map<string, { word: SignedWord; now: Said; pause: number; until: number }>()
  /** Of slots whose last word is in a block that is not final: the head by then. */
  const unsettled = new Map<string, { id: Hex; slot: number; now: Said; head: number }>()
  let settling = 0
  const complaints = new Map<string, string>()

  /** Once, until it is another reason. */
  const complain = (what: string, error: unknown) => {
    if (complaints.get(what) !== reasonOf(error)) log(`${what}: ${reasonOf(error)}`)
    complaints.set(what, reasonOf(error))
  }

  const post = async (id: Hex, d: Pinned['deployments'][Hex], slot: number, now: Said) => {
    const { sequence } = now
    // of a step that is no longer the last: the next look says what is so now
    if (sequence !== d.consent.sequence) return false
    const before = d.said[slot]
    if (before && isSame(before, now)) return false
    const key = `${id} ${slot}`
    const late = waiting.get(key)
    if (late && Date.now() < late.until) return false
    const flapping = before?.sequence === sequence && Date.now() - (last.get(key) ?? 0) < CALM
    if (flapping) return false
    last.set(key, Date.now())
    const word = late && isSame(late.now, now) ? late.word : sign(d, slot, now)
    try {
      await at.post(grid, account, word)
    } catch (error) {
      // the chain has given the slot to others already: it needs no word of ours
      const gone = codeOf(error) === 'contract-NotTheOwner'
      if (!gone) {
        complain(`report ${d.name}/${slot}`, error)
        const pause = Math.min(late ? late.pause * 2 : AGAIN, LONGEST)
        waiting.set(key, { word, now, pause, until: Date.now() + pause })
        return false
      }
    }
    waiting.delete(key)
    complaints.delete(`report ${d.name}/${slot}`)
    d.said[slot] = now
    const [final, head] = await Promise.all([grid.engine.finalized(), grid.client.getBlockNumber({ cacheTime: 0 })])
    if (head > final.number) unsettled.set(key, { id, slot, now, head: Number(head) })
    return true
  }

  /** Words that were in a block, and are in none now that what was the head then is final, are to be said again. */
  const settle = async (pinned: Pinned): Promise<boolean> => {
    if (unsettled.size === 0 || Date.now() < settling) return false
    settling = Date.now() + CALM
    const { number } = await grid.engine.finalized()
    let undone = false
    for (const [key, { id, slot, now, head }] of unsettled) {
      if (number < head) continue
      const d = pinned.deployments[id]
      const reports = d ? await readReports(grid, d.group, d.name) : []
      unsettled.delete(key)
      const isThere = reports.some((r) => r.slot === slot && r.node === node && isSame(r, now))
      if (!d?.said[slot] || !isSame(d.said[slot], now) || isThere) continue
      log(`report ${d.name}/${slot}: the block that had it was undone`)
      delete d.said[slot]
      undone = true
    }
    return undone
  }

  const sign = (d: Pinned['deployments'][Hex], slot: number, now: Said) =>
    signReport(grid, key, { group: d.group, name: d.name, slot, node, ...now })

  /** Consent that ended by time alone: whoever has a slot of it tells the chain, so that what was booked is free again. */
  const overdue = async (d: Pinned['deployments'][Hex]) => {
    const expiry = d.consent.placed?.expiry ?? 0
    if (expiry === 0 || Date.now() / 1000 < expiry + BEHIND) return
    const due = Date.now() - (last.get(`${d.group} ${d.name}`) ?? 0) > CALM
    if (!due) return
    last.set(`${d.group} ${d.name}`, Date.now())
    await expire(grid, account, d.group, d.name).catch((error: unknown) => {
      // another was first, or the chain's clock is far behind ours; who has no funds leaves it to others
      if (!codeOf(error).startsWith('contract-')) complain(`end ${d.name}, whose time is over`, error)
    })
  }

  return {
    async slots(pinned: Pinned, now: Map<Hex, Map<number, Said>>): Promise<boolean> {
      let changed = await settle(pinned)
      for (const [id, slots] of now) {
        const d = pinned.deployments[id]!
        // of what ended the chain keeps no slot: nobody waits for a word
        if (d.consent.status !== 'active') continue
        await overdue(d)
        for (const [slot, said] of slots) changed = (await post(id, d, slot, said)) || changed
      }
      return changed
    },
    /** False when the chain did not get it. */
    async beat(): Promise<boolean> {
      const { signature, ...beat } = signBeat(grid, key, node, Math.floor(Date.now() / 1000))
      try {
        await at.post(grid, account, { beat, signature })
        return true
      } catch (error) {
        complain('sign of life', error)
        return false
      }
    },
  }
}
