import { daemonCall } from './daemon.ts'
import { JSON_FLAG, parseFlags } from './flags.ts'
import { bytesText, table } from './terminal.ts'

type Stats = {
  id: string
  name: string
  memory: { current: number; peak: number; limit: number }
  cpu: { seconds: number; percent: number }
  processes: number
  disk: { used: number }
  /** Memory the machine costs this host (Pss), bytes. */
  host: { memory: number }
}

export default async function stats(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('stats', args, {
    json: JSON_FLAG,
    'no-stream': { kind: 'switch', about: 'one look instead of one each second' },
  })
  for (;;) {
    const now = await daemonCall<Stats[]>('GET', `/stats?names=${encodeURIComponent(rest.join(','))}`)
    if (flags.json) process.stdout.write(`${JSON.stringify(now)}\n`)
    else {
      const rows = now.map((s) => [
        s.id.slice(0, 12),
        s.name,
        `${s.cpu.percent.toFixed(1)} %`,
        `${bytesText(s.memory.current)} / ${bytesText(s.memory.limit)}`,
        bytesText(s.host.memory),
        bytesText(s.disk.used),
        String(s.processes),
      ])
      if (process.stdout.isTTY && !flags['no-stream']) process.stdout.write('\x1b[H\x1b[2J')
      process.stdout.write(table(['ID', 'NAME', 'CPU', 'MEMORY / LIMIT', 'HOST MEMORY', 'WRITTEN', 'PROCESSES'], rows))
    }
    if (flags['no-stream'] || flags.json || !process.stdout.isTTY) return 0
    await new Promise((r) => setTimeout(r, 1000))
  }
}
