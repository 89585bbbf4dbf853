import { ZosError } from '#codec'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Docker's `--since`: a duration back from NOW (`1h30m`), Unix seconds, or a time as `--timestamps` prints it. Unix milliseconds. */
export function parseWhen(flag: string, text: string, now = Date.now()): number {
  if (/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) {
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)]
    return now - parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * UNITS[unit!]!, 0)
  }
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
