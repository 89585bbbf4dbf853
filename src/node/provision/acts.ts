import { reasonOf } from '#codec'
import type { RestartPolicy } from '#wire'
import type { Running } from '../compute/api.ts'
import type { CardKeeper } from './cards.ts'
import type { Desired, Run } from './desired.ts'
import { isBefore, slotName } from './names.ts'
import type { Said, Watched } from './pinned.ts'
import { checkPlace, type Place, type Room } from './room.ts'
import type { openedSpecs } from './sealed.ts'
import type { Noted } from './shared.ts'

type Hex = `0x${string}`

/** Milliseconds between attempts at a slot that fails, doubled up to a minute. */
const FIRST_RETRY = 2000
const LONGEST_RETRY = 60_000

export type Compute = <T>(method: string, path: string, body?: unknown) => Promise<T>

type Word = Omit<Said, 'sequence'>

/** Before a fenced workload that ended starts again. */
const PAUSE = 2000

/** Whether it is for us to start what does not run: what ended by itself stays as its policy has it. */
function due(w: Running, policy: RestartPolicy, mayRestart: boolean): boolean {
  if (w.state === 'running' || w.state === 'paused') return false
  // what was stopped by hand was stopped by us
  if (w.startedAt === null || w.byHand) return true
  return mayRestart && (policy.name === 'on-failure' ? w.exitCode !== 0 : policy.name !== 'no')
}

/** The steps that bring one slot to what is desired; each may be repeated or interrupted. */
export function slotActs(at: {
  compute: Compute
  open: ReturnType<typeof openedSpecs>
  cards: CardKeeper
  note: (workload: string, noted: Noted) => void
  room: Room
  place: Place
  log: (line: string) => void
}) {
  const { compute, open, cards, note, room, place, log } = at
  /** Of starts that failed: for which step, and when to try again. */
  const retry = new Map<string, { sequence: number; after: number; delay: number; why: string }>()
  /** What was started, or stopped, for which step under which compute plane. */
  const started = new Map<string, string>()
  const stopped = new Map<string, string>()
  /** The lease each fenced workload was last given. */
  const told = new Map<string, number>()

  const start = async (id: Hex, d: Watched, want: Run, mine: Running[], pid: number): Promise<Word> => {
    const { workload, wanted, restart, card, geo, isPrivate } = await open(id, d, want)
    const found = mine.find((w) => w.name === workload)
    const others = mine.filter((w) => w.name !== workload)
    const life = `${pid} ${d.consent.sequence}`
    // while its compute plane lives the policy is that plane's own affair, but of a fenced one
    const rested = Date.now() - Date.parse(found?.finishedAt ?? '0') > PAUSE
    const start = !found || due(found, restart, want.until === undefined ? started.get(workload) !== life : rested)
    if (start) {
      checkPlace(place, d.consent.placed!.rules, geo)
      room.take(slotName(id, want.slot.index), want.slot.resources)
    }
    note(workload, { id, isPrivate })
    if (card) await cards.want(workload, card, d.group)
    if (!found) await compute('PUT', `/workloads/${workload}`, wanted)
    // the version before gives its volumes up first
    for (const w of others) if (w.state === 'running') await compute('POST', `/workloads/${w.name}/stop`)
    if (want.until !== undefined && (start || told.get(workload) !== want.until)) {
      await compute('PUT', `/workloads/${workload}/lease`, { until: want.until })
      told.set(workload, want.until)
    }
    if (start) {
      await compute('POST', `/workloads/${workload}/start`)
      log(`${d.name}/${want.slot.index}: version ${d.consent.version} runs`)
    }
    started.set(workload, life)
    for (const w of others) await compute('DELETE', `/workloads/${w.name}`)
    if (start || found.state === 'running' || found.state === 'paused') {
      // said without figures: each change of a word is a transaction
      return { phase: 'running', reason: found?.health === 'unhealthy' ? 'unhealthy: its health check fails' : '' }
    }
    const reason = `exited (${found.exitCode}): ${found.reason}`
    return { phase: found.exitCode === 0 ? 'stopped' : 'failed', reason }
  }

  const run = async (id: Hex, d: Watched, want: Run, mine: Running[], pid: number): Promise<Word> => {
    const key = slotName(id, want.slot.index)
    const { sequence } = d.consent
    const known = retry.get(key)
    const failed = known?.sequence === sequence ? known : undefined
    if (failed && Date.now() < failed.after) return { phase: 'failed', reason: failed.why }
    try {
      const word = await start(id, d, want, mine, pid)
      retry.delete(key)
      return word
    } catch (error) {
      const why = reasonOf(error)
      const delay = Math.min((failed?.delay ?? FIRST_RETRY / 2) * 2, LONGEST_RETRY)
      retry.set(key, { sequence, after: Date.now() + delay, delay, why })
      if (why !== failed?.why) log(`${d.name}/${want.slot.index}: ${why}`)
      return { phase: 'failed', reason: why }
    }
  }

  const stop = async (d: Watched, why: string, mine: Running[], pid: number): Promise<Word> => {
    const life = `${pid} ${d.consent.sequence} ${d.consent.frozenUntil} ${why}`
    for (const w of mine) {
      started.delete(w.name)
      // also one that is down and waits to be restarted
      if (w.state !== 'running' && stopped.get(w.name) === life) continue
      await compute('POST', `/workloads/${w.name}/stop`)
      stopped.set(w.name, life)
    }
    return { phase: 'stopped', reason: why }
  }

  /** Deletes MINE and the slot's volumes; WIPED: those alone that were made before that step. */
  const erase = async (id: Hex, index: number, why: string, mine: Running[], wiped?: number): Promise<void> => {
    for (const w of mine) if (w.state === 'running') await compute('POST', `/workloads/${w.name}/stop`)
    // by its workloads the slot is known here: they go last
    const volumes = await compute<{ name: string }[]>('GET', '/volumes')
    for (const v of volumes)
      if (v.name.startsWith(`${slotName(id, index)}.`) && (wiped === undefined || isBefore(v.name, wiped)))
        await compute('DELETE', `/volumes/${v.name}`)
    for (const w of mine) {
      await compute('DELETE', `/workloads/${w.name}`)
      log(`${w.name}: deleted: ${why}`)
    }
  }

  /** One act for slot INDEX, of whose workloads here are MINE, under the compute plane PID. */
  return async (id: Hex, d: Watched, index: number, want: Desired, mine: Running[], pid: number): Promise<Word> => {
    if (want.do === 'wipe') {
      await erase(id, index, want.why, mine)
      return { phase: 'stopped', reason: want.why }
    }
    const { wiped } = d.consent
    const left = mine.filter((w) => isBefore(w.name, wiped))
    // the group went on after a wipe before this node knew of it
    if (left.length > 0) await erase(id, index, 'wiped', left, wiped)
    const now = mine.filter((w) => !left.includes(w))
    return want.do === 'run' ? run(id, d, want, now, pid) : stop(d, want.why, now, pid)
  }
}
