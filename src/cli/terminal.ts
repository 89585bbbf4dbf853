import { createInterface } from 'node:readline/promises'
import { codeOf, plain } from '#codec'

/** A yes/no question on the terminal; Enter means yes, Ctrl-C and Ctrl-D no. */
export async function ask(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = (await lines.question(`${question} [Y/n] `)).trim().toLowerCase()
    return answer === '' || answer === 'y' || answer === 'yes'
  } catch (error) {
    if (codeOf(error) !== 'ABORT_ERR') throw error
    process.stderr.write('\n')
    return false
  } finally {
    lines.close()
  }
}

/** At most LENGTH characters. */
export const cut = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text

/** Rows under a header, columns as wide as their widest cell; what is in a row may be anybody's words. */
export function table(header: readonly string[], said: readonly (readonly string[])[]): string {
  const rows = said.map((cells) => cells.map(plain))
  const widths = header.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((c, i) => c.padEnd(widths[i]!))
      .join('   ')
      .trimEnd()
  return `${[header, ...rows].map(line).join('\n')}\n`
}

/** 1536 → "1.5 KiB". */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
