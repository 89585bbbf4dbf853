import type { RunRequest } from '#wire'
import { usage } from './request-values.ts'
import { parseDuration } from './when.ts'

export const HEALTH_FLAGS = {
  'health-cmd': { kind: 'value', about: 'a line for its shell that ends with 0 while it is well' },
  'health-interval': { kind: 'value', about: 'time between two checks, as 30s (default) or 1m30s' },
  'health-timeout': { kind: 'value', about: 'time that a check may take, default 30s' },
  'health-retries': { kind: 'value', about: 'failures in a row that make it unhealthy, default 3' },
  'health-start-period': { kind: 'value', about: 'time after its start in which failures do not count' },
  'health-start-interval': { kind: 'value', about: 'time between two checks until then, default 5s' },
  'no-healthcheck': { kind: 'switch', about: "leave the image's checks out" },
} as const

type Flags = { [name in keyof typeof HEALTH_FLAGS]: name extends 'no-healthcheck' ? boolean : string | undefined }

/** Docker's least time between two checks, in milliseconds. */
const LEAST = 1

function duration(verb: string, flag: keyof Flags, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = parseDuration(text)
  if (ms === undefined || (ms !== 0 && ms < LEAST))
    throw usage(`zos ${verb}: --${flag} "${text}": write it as 30s or 1m30s`)
  // as with Docker, 0 is what the image says
  return ms === 0 ? undefined : ms
}

function retries(verb: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,6}$/.test(text)) throw usage(`zos ${verb}: --health-retries "${text}" is no number`)
  return Number(text) || undefined
}

/** What the flags say of checks, over what the image says; undefined: nothing. */
export function healthOf(verb: string, flags: Flags): RunRequest['health'] {
  const line = flags['health-cmd']
  const said = {
    ...(line === undefined || line === 'none' ? {} : { probe: { argv: ['/bin/sh', '-c', line] } }),
    interval: duration(verb, 'health-interval', flags['health-interval']),
    timeout: duration(verb, 'health-timeout', flags['health-timeout']),
    retries: retries(verb, flags['health-retries']),
    startPeriod: duration(verb, 'health-start-period', flags['health-start-period']),
    startInterval: duration(verb, 'health-start-interval', flags['health-start-interval']),
  }
  const health = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
  const any = Object.keys(health).length > 0
  if (flags['no-healthcheck'] && (any || line !== undefined))
    throw usage(`zos ${verb}: --no-healthcheck and the other --health flags exclude each other`)
  if (flags['no-healthcheck'] || line === 'none') return 'none'
  return any ? health : undefined
}
