import { ZosError } from '#codec'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Milliseconds of a duration in Go's form, such as 1h30m or 500ms; undefined: it is none. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text) && text !== '0') return undefined
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)]
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * UNITS[unit!]!, 0)
}

/** Docker's `--since`: a duration back from NOW (`1h30m`), Unix seconds, or a time as `--timestamps` prints it. Unix milliseconds. */
export function parseWhen(flag: string, text: string, now = Date.now()): number {
  const back = text === '0' ? undefined : parseDuration(text)
  if (back !== undefined) return now - back
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  const time = /^\d{4}-\d\d-\d\d(T.*)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time)) {
    throw new ZosError(
      `zos logs: --${flag} "${text}" is no time; write it as 10m, 1h30m, 1700000000 or 2026-01-31T12:00:00Z`,
      { code: 'usage' },
    )
  }
  return time
}
