import { reasonOf, ZosError } from '#codec'
import { leafOf, openSealed } from '#contract'
import { callUnix, sleep } from '#sys'
import type { Running, Wanted } from '../compute/api.ts'
import { type Desired, desiredOf } from './desired.ts'
import type { Said, Watched } from './pinned.ts'
import { requestOf, slotName, workloadName } from './request.ts'
import type { Specs } from './specs.ts'

type Hex = `0x${string}`

/** Milliseconds between attempts at a slot that fails, doubled up to a minute. */
const FIRST_RETRY = 2000
const LONGEST_RETRY = 60_000

export type Compute = <T>(method: string, path: string, body?: unknown) => Promise<T>

/** What a start may take: a template made anew on a busy machine. */
const START_DEADLINE = 180_000

export const computeAt =
  (socket: string): Compute =>
  (method, path, body) =>
    callUnix(socket, method, path, { timeout: START_DEADLINE, ...(body === undefined ? {} : { body }) })

/** How long one pass waits for what it set going: a freeze must not wait for another slot's start. */
const PATIENCE = 1000

type Word = Omit<Said, 'sequence'>
type Opened = { workload: string; wanted: Wanted }

/** Drives the compute plane toward what was agreed on; every step may be repeated or interrupted. */
export function slotKeeper(at: {
  me: number
  sealSecret: Uint8Array
  compute: Compute
  specs: Specs
  log: (line: string) => void
}) {
  const { me, compute, log } = at
  const opened = new Map<Hex, Opened>()
  /** Of starts that failed: when to try again. */
  const retry = new Map<string, { after: number; delay: number; why: string }>()
  /** What was started for which step by which compute plane: afterwards its restart policy is its own affair. */
  const started = new Map<string, string>()
  const stopped = new Map<string, string>()
  let computePid = 0
  /** Slots at work, one act at a time each, and what came of the last one. */
  const acting = new Map<string, Promise<void>>()
  const last = new Map<string, Said>()

  const open = async (id: Hex, d: Watched, want: Extract<Desired, { do: 'run' }>): Promise<Opened> => {
    const { slot, place, count } = want
    const known = opened.get(slot.blob)
    if (known) return known
    const bytes = await at.specs.get(slot.blob)
    const expected = { blob: slot.blob, specRoot: d.consent.placed!.specRoot, index: place, count }
    const { spec, salt } = await openSealed(bytes, at.sealSecret, expected)
    if (spec.deployment !== d.name || spec.slot !== slot.index)
      throw new ZosError(`Open slot ${slot.index}: the spec inside is of "${spec.deployment}/${spec.slot}"`, {
        code: 'wrong-spec',
      })
    const { memory, cpus } = spec.workload as { memory?: unknown; cpus?: unknown }
    // what was sealed must not be more than what was booked
    if (memory !== slot.resources.ram || cpus !== slot.resources.cpu)
      throw new ZosError(`Open slot ${slot.index}: the spec asks for more or less than was agreed on`, {
        code: 'wrong-spec',
      })
    const made = {
      workload: workloadName(id, slot.index, leafOf(spec, salt)),
      wanted: requestOf(id, slot.index, spec.workload),
    }
    opened.set(slot.blob, made)
    return made
  }

  const run = async (id: Hex, d: Watched, want: Extract<Desired, { do: 'run' }>, mine: Running[]): Promise<Word> => {
    const key = slotName(id, want.slot.index)
    const failed = retry.get(key)
    if (failed && Date.now() < failed.after) return { phase: 'failed', reason: failed.why }
    try {
      const { workload, wanted } = await open(id, d, want)
      let found = mine.find((w) => w.name === workload)
      const others = mine.filter((w) => w.name !== workload)
      if (!found) await compute('PUT', `/workloads/${workload}`, wanted)
      // the version before gives its volumes up first
      for (const w of others) if (w.state === 'running') await compute('POST', `/workloads/${w.name}/stop`)
      const life = `${computePid} ${d.consent.sequence}`
      if (found?.state !== 'running' && started.get(workload) !== life) {
        await compute('POST', `/workloads/${workload}/start`)
        log(`${d.name}/${want.slot.index}: version ${d.consent.version} runs`)
        found = undefined
      }
      started.set(workload, life)
      retry.delete(key)
      for (const w of others) await compute('DELETE', `/workloads/${w.name}`)
      if (!found || found.state === 'running' || found.state === 'paused') return { phase: 'running', reason: '' }
      return { phase: 'failed', reason: `exited (${found.exitCode}): ${found.reason}` }
    } catch (error) {
      const why = reasonOf(error)
      const delay = Math.min((failed?.delay ?? FIRST_RETRY / 2) * 2, LONGEST_RETRY)
      retry.set(key, { after: Date.now() + delay, delay, why })
      if (why !== failed?.why) log(`${d.name}/${want.slot.index}: ${why}`)
      return { phase: 'failed', reason: why }
    }
  }

  const stop = async (d: Watched, why: string, mine: Running[]): Promise<Word> => {
    const life = `${computePid} ${d.consent.sequence} ${d.consent.frozenUntil}`
    for (const w of mine) {
      started.delete(w.name)
      // also one that is down and waits to be restarted
      if (w.state !== 'running' && stopped.get(w.name) === life) continue
      await compute('POST', `/workloads/${w.name}/stop`)
      stopped.set(w.name, life)
    }
    return { phase: 'stopped', reason: why }
  }

  const wipe = async (id: Hex, index: number, mine: Running[]): Promise<Word> => {
    for (const w of mine) await compute('DELETE', `/workloads/${w.name}`)
    const volumes = await compute<{ name: string }[]>('GET', '/volumes')
    for (const v of volumes)
      if (v.name.startsWith(`${slotName(id, index)}.`)) await compute('DELETE', `/volumes/${v.name}`)
    return { phase: 'stopped', reason: 'wiped' }
  }

  const act = async (id: Hex, d: Watched, index: number, want: Desired, mine: Running[]): Promise<void> => {
    const { sequence } = d.consent
    try {
      const word =
        want.do === 'run'
          ? await run(id, d, want, mine)
          : want.do === 'stop'
            ? await stop(d, want.why, mine)
            : await wipe(id, index, mine)
      last.set(slotName(id, index), { sequence, ...word })
    } catch (error) {
      log(`${d.name}/${index}: ${reasonOf(error)}`)
    }
  }

  /** One pass over all deployments. Gives what each slot here is, as far as is known, to be reported. */
  return async function pass(deployments: Record<Hex, Watched>): Promise<Map<Hex, Map<number, Said>>> {
    const { pid } = await compute<{ pid: number }>('GET', '/ping')
    computePid = pid
    const running = await compute<Running[]>('GET', '/workloads')
    const words = new Map<Hex, Map<number, Said>>()
    const wanted: [Hex, number][] = []
    for (const [id, d] of Object.entries(deployments) as [Hex, Watched][]) {
      const slotOf = (w: Running) => Number(w.name.split('.')[1])
      const mine = running.filter((w) => w.name.startsWith(`${id.slice(2, 18)}.`))
      const known = new Set([...mine.map(slotOf), ...Object.keys(d.said).map(Number)])
      for (const [index, want] of desiredOf(d, me, known, Date.now())) {
        wanted.push([id, index])
        const key = slotName(id, index)
        if (acting.has(key)) continue
        const here = mine.filter((w) => slotOf(w) === index)
        acting.set(
          key,
          act(id, d, index, want, here).finally(() => acting.delete(key)),
        )
      }
    }
    const patience = new AbortController()
    await Promise.race([Promise.all(acting.values()), sleep(PATIENCE, patience.signal).catch(() => {})])
    patience.abort()
    for (const [id, index] of wanted) {
      const said = last.get(slotName(id, index))
      if (said) words.set(id, (words.get(id) ?? new Map<number, Said>()).set(index, said))
    }
    return words
  }
}
