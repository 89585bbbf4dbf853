import type { HealthCheck, HealthStatus, RunRequest } from '#wire'

/** A HEALTHCHECK as images have it: Docker's words beside the OCI config. Times in nanoseconds, 0 for the default. */
export type ImageHealth = {
  Test?: string[] | null
  Interval?: number
  Timeout?: number
  StartPeriod?: number
  StartInterval?: number
  Retries?: number
}

/** One probe, in the words of Docker's inspect; exit code -1: it could not be done, or took too long. */
export type ProbeResult = { Start: string; End: string; ExitCode: number; Output: string }

export type Health = {
  status: HealthStatus
  failingStreak: number
  /** The last five. */
  log: ProbeResult[]
}

/** Docker's. */
const DEFAULTS = { interval: 30_000, timeout: 30_000, retries: 3, startPeriod: 0, startInterval: 5000 }
const KEPT = 5

const milliseconds = (nanoseconds: number | undefined): number | undefined =>
  typeof nanoseconds === 'number' && nanoseconds > 0 ? nanoseconds / 1e6 : undefined

function probeOf(test: readonly string[]): HealthCheck['probe'] | undefined {
  const [kind, ...words] = test
  if (kind === 'CMD' && words.length > 0) return { argv: words }
  if (kind === 'CMD-SHELL' && words.length > 0) return { argv: ['/bin/sh', '-c', words[0]!] }
  return undefined
}

/** Joins what was asked with what the image says; undefined: it is not checked. */
export function resolveHealth(asked: RunRequest['health'], image: ImageHealth | undefined): HealthCheck | undefined {
  if (asked === 'none') return undefined
  const probe = asked?.probe ?? probeOf(image?.Test ?? [])
  if (!probe) return undefined
  const own = {
    interval: milliseconds(image?.Interval),
    timeout: milliseconds(image?.Timeout),
    retries: image?.Retries || undefined,
    startPeriod: milliseconds(image?.StartPeriod),
    startInterval: milliseconds(image?.StartInterval),
  }
  const said = (from: object) => Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined))
  return { ...DEFAULTS, ...said(own), ...said(asked ?? {}), probe }
}

/** What RESULT makes of a workload's health, STARTEDAGO milliseconds after its start. */
export function judge(health: Health, check: HealthCheck, result: ProbeResult, startedAgo: number): Health {
  const log = [...health.log, result].slice(-KEPT)
  if (result.ExitCode === 0) return { status: 'healthy', failingStreak: 0, log }
  // as with Docker: the first success ends the time in which failures are forgiven
  if (health.status === 'starting' && startedAgo < check.startPeriod) return { ...health, log }
  const failingStreak = health.failingStreak + 1
  return { status: failingStreak >= check.retries ? 'unhealthy' : health.status, failingStreak, log }
}

/** Milliseconds until the next probe. */
export const pauseOf = (health: Health, check: HealthCheck, startedAgo: number): number =>
  health.status === 'starting' && startedAgo < check.startPeriod ? check.startInterval : check.interval
