import { reasonOf } from '#codec'
import type { Resources } from '#contract'
import { callUnix, sleep } from '#sys'
import type { Running } from '../compute/api.ts'
import { type Compute, slotActs } from './acts.ts'
import type { CardKeeper } from './cards.ts'
import { type Desired, desiredOf, keyOfSlot } from './desired.ts'
import type { Lease } from './leases.ts'
import { slotName } from './names.ts'
import type { Said, Watched } from './pinned.ts'
import { type Place, roomOf } from './room.ts'
import { openedSpecs } from './sealed.ts'
import { type Noted, sharedImages } from './shared.ts'
import type { Specs } from './specs.ts'

type Hex = `0x${string}`

/** What a start may take: a template made anew on a busy machine. */
const START_DEADLINE = 180_000

export const computeAt =
  (socket: string): Compute =>
  (method, path, body) =>
    callUnix(socket, method, path, { timeout: START_DEADLINE, ...(body === undefined ? {} : { body }) })

/** How long one pass waits for what it set going: a freeze must not wait for another slot's start. */
const PATIENCE = 1000

/** What each slot here is, by deployment and slot (keyOfSlot), as far as is known. */
export type Words = Map<Hex, Map<number, Said>>

/** Drives the compute plane toward what was agreed on. Gives one pass over all deployments, to be repeated for ever. */
export function slotKeeper(at: {
  me: number
  sealSecret: Uint8Array
  compute: Compute
  specs: Specs
  leaseOf: (id: Hex, index: number) => Lease
  cards: CardKeeper
  /** What this node gives away, and where it stands. */
  capacity: Resources
  place: Place
  log: (line: string) => void
}) {
  const { me, compute, leaseOf, cards, log } = at
  /** Of the workloads here, what their specs say of their images. */
  const noted = new Map<string, Noted>()
  const note = (workload: string, of: Noted) => void noted.set(workload, of)
  const room = roomOf(at.capacity)
  const actOn = slotActs({
    compute,
    cards,
    note,
    room,
    place: at.place,
    log,
    open: openedSpecs(at.specs, at.sealSecret),
  })
  /** Slots at work, one act at a time each, and what came of the last one. */
  const acting = new Map<string, Promise<void>>()
  const last = new Map<string, Said>()

  const act = async (id: Hex, d: Watched, key: number, want: Desired, mine: Running[], pid: number) => {
    // of this step, whatever is learnt while it is carried out
    const { sequence } = d.consent
    try {
      last.set(`${id} ${key}`, { sequence, ...(await actOn(id, d, key % 128, want, mine, pid)) })
    } catch (error) {
      log(`${d.name}/${key}: ${reasonOf(error)}`)
    }
  }

  /** Who has its room before anything new is given any: what runs, and what stands still with its reservation. */
  const settleRoom = (id: Hex, d: Watched, key: number, want: Desired, mine: Running[]) => {
    const name = slotName(id, key % 128)
    const runs = mine.some((w) => w.state === 'running' || w.state === 'paused')
    const isOver = want.do === 'wipe' || (want.do === 'stop' && want.over === true)
    const slot = d.consent.placed?.slots.find((s) => s.node === me && keyOfSlot(s) === key)
    if (isOver && !runs) room.free(name)
    else if (slot && (runs || (want.do === 'stop' && mine.length > 0))) room.keep(name, slot.resources)
  }

  return async function pass(deployments: Record<Hex, Watched>): Promise<Words> {
    const { pid } = await compute<{ pid: number }>('GET', '/ping')
    const running = await compute<Running[]>('GET', '/workloads')
    const wanted: [Hex, number][] = []
    for (const [id, d] of Object.entries(deployments) as [Hex, Watched][]) {
      const ofSlot = (index: number) => running.filter((w) => w.name.startsWith(`${slotName(id, index)}.`))
      const here = Array.from({ length: 128 }, (_, n) => n).filter((n) => ofSlot(n).length > 0)
      const known = new Set([...here, ...Object.keys(d.said).map(Number)])
      for (const [key, want] of desiredOf(d, me, known, Date.now(), (index) => leaseOf(id, index))) {
        wanted.push([id, key])
        settleRoom(id, d, key, want, ofSlot(key % 128))
        // one at a time in one slot, whether this node is its primary or its standby
        const name = slotName(id, key % 128)
        if (acting.has(name)) continue
        const done = act(id, d, key, want, ofSlot(key % 128), pid).finally(() => acting.delete(name))
        acting.set(name, done)
      }
    }
    // of what is not here any more, nor about to be
    if (acting.size === 0)
      for (const name of noted.keys()) if (!running.some((w) => w.name === name)) noted.delete(name)
    cards.share(sharedImages(deployments, running, noted, me, Date.now()))
    const patience = new AbortController()
    await Promise.race([Promise.all(acting.values()), sleep(PATIENCE, patience.signal).catch(() => {})])
    patience.abort()
    const words: Words = new Map()
    for (const [id, key] of wanted) {
      const said = last.get(`${id} ${key}`)
      if (said) words.set(id, (words.get(id) ?? new Map<number, Said>()).set(key, said))
    }
    return words
  }
}
