import { reasonOf } from '#codec'
import {
  type Grid,
  type Key,
  MODE,
  openRelayer,
  readDeployment,
  readNode,
  readWords,
  signBeat,
  signReport,
  type Word,
} from '#contract'
import { bootClock } from '#sys'
import { type Fenced, holderOf, rivalsOf } from './claim.ts'
import type { Watched } from './pinned.ts'
import type { Post } from './post.ts'

type Hex = `0x${string}`

/**
 * Milliseconds. A lease is asked for anew every RENEW; it lasts STOP from the moment it was asked for, and its node stops
 * by itself then. Others start ACTIVATE after they saw its last sign of life, which was later than that moment: between
 * the two ends lie ten seconds, for clocks that run at different rates. No clock is compared with another's.
 */
export const RENEW = 5_000
export const STOP = 20_000
export const ACTIVATE = 30_000
/** How long a word may wait at a relayer before the node posts it by itself: with the answer's 3 s far below STOP. */
const PATIENCE = 3_000

export type Lease = { held: true; until: number } | { held: false; why: string }

/** The fenced slots of D that this node is the primary or the standby of. */
function fencedSlots(d: Watched, me: number): Fenced[] {
  if (d.consent.status !== 'active') return []
  const slots = d.consent.placed?.slots ?? []
  return slots
    .filter((s) => s.mode === MODE.fenced)
    .map(({ index, node }) => {
      const standby = slots.find((s) => s.index === index && s.mode === MODE.standby)?.node
      return { index, primary: node, standby: standby === node ? undefined : standby }
    })
    .filter((s) => s.primary === me || s.standby === me)
}

/** What is remembered of one slot between two renewals. All by bootClock. */
type Memory = {
  sequence: number
  held: boolean
  why: string
  /** Since when this step is known here with nobody else entitled. */
  quietSince: number
  /** Since when the holder's place is seen to be taken back by its farmer. */
  goneSince?: number | undefined
}

/** Leases of this node's fenced slots, by its signs of life on the chain. */
export function leaseHolder(at: { grid: Grid; post: Post; key: Key; me: number; log: (line: string) => void }) {
  const { grid, key, me, log } = at
  const account = openRelayer()
  const memory = new Map<string, Memory>()
  /** The last sign of life of other nodes, and when it was first seen here. */
  const signs = new Map<number, { seen: number; since: number }>()
  let until = 0

  /** A sign of life that the chain holds. The lease counts from before it was sent. */
  const renew = async (): Promise<number> => {
    // later than any before, also where this machine's clock was set back
    const last = (await readNode(grid, me))?.seen ?? 0
    const asked = bootClock()
    const beat = Math.max(Math.floor(Date.now() / 1000), last + 1)
    const { signature, ...signed } = signBeat(grid, key, me, beat)
    await at.post(grid, account, { beat: signed, signature }, PATIENCE)
    if (((await readNode(grid, me))?.seen ?? 0) < beat) throw new Error('the chain does not hold the sign of life')
    return asked + STOP
  }

  /** Whether NODE has given no sign of life for ACTIVATE. */
  const silent = async (node: number): Promise<boolean> => {
    const seen = (await readNode(grid, node))?.seen ?? 0
    const known = signs.get(node)
    if (known?.seen !== seen) signs.set(node, { seen, since: bootClock() })
    return known?.seen === seen && bootClock() - known.since > ACTIVATE
  }

  const claim = async (d: Watched, slot: Fenced): Promise<void> => {
    const report = { group: d.group, name: d.name, slot: slot.primary === me ? slot.index : slot.index + 128 }
    const word = { ...report, node: me, sequence: d.consent.sequence, phase: 'running' as const, reason: 'takes over' }
    await at.post(grid, account, signReport(grid, key, word), PATIENCE)
  }

  /** Whether this node may begin to run the slot; '' or why not yet. */
  const acquire = async (
    d: Watched,
    slot: Fenced,
    m: Memory,
    words: Word[],
    isGone: (node: number) => boolean,
  ): Promise<string> => {
    const { sequence } = d.consent
    const holder = holderOf(slot, words, sequence)
    if (holder !== me) {
      m.quietSince = bootClock()
      // a holder whose place was taken back lives on: it finds so at its next renewal, or has no lease by then
      m.goneSince = isGone(holder) ? (m.goneSince ?? bootClock()) : undefined
      const isOver = async () =>
        (m.goneSince !== undefined && bootClock() - m.goneSince > ACTIVATE) || (await silent(holder))
      if (!(await isOver())) return slot.primary === me ? `node ${holder} runs it` : `stands by for node ${holder}`
      // its lease is over; the chain decides between us and its return
      await claim(d, slot)
      const after = holderOf(slot, await readWords(grid, d.group, d.name), sequence)
      return after === me && (await isOver()) ? '' : `node ${holder} is back`
    }
    // whoever ran it before finds at its next renewal that it may not, or has no lease by then
    if (rivalsOf(slot, me, words, sequence).length === 0) return ''
    const waits = m.quietSince + ACTIVATE - bootClock()
    return waits <= 0 ? '' : 'waits until no other node can still run it'
  }

  const turnSlot = async (d: Watched, slot: Fenced, m: Memory): Promise<void> => {
    const { sequence } = d.consent
    const now = await readDeployment(grid, d.group, d.name)
    if (now.sequence !== sequence) throw new Error(`the chain is at step ${now.sequence}, this node at ${sequence}`)
    const words = await readWords(grid, d.group, d.name)
    const entitled = holderOf(slot, words, sequence) === me
    const isGone = (node: number) =>
      now.slots.some((s) => s.index === slot.index && s.node === node && s.phase === 'released')
    if (m.held && entitled && !isGone(me)) return
    const before = m.held
    if (isGone(me)) m.why = 'taken back by the farmer'
    else m.why = m.held ? 'another node took over' : await acquire(d, slot, m, words, isGone)
    m.held = !m.held && m.why === ''
    if (m.held !== before) log(`${d.name}/${slot.index}: ${m.held ? 'holds its lease' : m.why}`)
  }

  return {
    /** One round; call it every RENEW. What cannot be renewed runs out by itself. */
    async turn(deployments: Record<Hex, Watched>): Promise<void> {
      const slots = Object.entries(deployments).flatMap(([id, d]) =>
        fencedSlots(d, me).map((slot) => ({ at: `${id} ${slot.index}`, d, slot })),
      )
      if (slots.length === 0) return
      const next = await renew()
      // not one moment without a lease: another may have begun in it
      if (bootClock() >= until) for (const m of memory.values()) m.held = false
      for (const { at: name, d, slot } of slots) {
        const fresh: Memory = { sequence: 0, held: false, why: '', quietSince: bootClock() }
        const m = memory.get(name) ?? fresh
        memory.set(name, m)
        // with a lease that goes on nobody else can have begun; without, what another knew of the step before counts
        if (m.sequence !== d.consent.sequence && !m.held) m.quietSince = bootClock()
        m.sequence = d.consent.sequence
        try {
          await turnSlot(d, slot, m)
        } catch (error) {
          m.held = false
          m.why = reasonOf(error)
        }
      }
      until = next
    },
    of(id: Hex, index: number): Lease {
      const m = memory.get(`${id} ${index}`)
      if (m?.held && bootClock() < until) return { held: true, until }
      return { held: false, why: m?.why || 'has no lease: the chain has not been reached' }
    },
  }
}

export type Leases = ReturnType<typeof leaseHolder>
