import { bytesText } from './terminal.ts'

/** One line that rewrites itself on a terminal; elsewhere a plain line every few seconds. */
export type Progress = { show: (text: string) => void; done: (text?: string) => void }

const PLAIN_EVERY = 3000

export function progressLine(out: NodeJS.WriteStream = process.stderr): Progress {
  let last = performance.now()
  return {
    show(text) {
      if (out.isTTY) out.write(`\r\x1b[K${text}`)
      else if (performance.now() - last > PLAIN_EVERY) {
        last = performance.now()
        out.write(`${text}\n`)
      }
    },
    done(text) {
      if (out.isTTY) out.write('\r\x1b[K')
      if (text) out.write(`${text}\n`)
    },
  }
}

/** "12.0 MiB of 30.0 MiB, 8.0 MiB/s, 2 s left" */
export function rateText(bytes: number, total: number | undefined, begun: number): string {
  const seconds = Math.max(0.001, (performance.now() - begun) / 1000)
  const rate = bytes / seconds
  const left = total !== undefined && rate > 0 ? `, ${Math.ceil(Math.max(0, total - bytes) / rate)} s left` : ''
  return `${bytesText(bytes)}${total === undefined ? '' : ` of ${bytesText(total)}`}, ${bytesText(Math.round(rate))}/s${left}`
}
