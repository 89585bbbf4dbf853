import { ZosError } from '#codec'
import { daemonCall } from './daemon.ts'
import { JSON_FLAG, parseBytes, parseFlags } from './flags.ts'
import { bytesText, table } from './terminal.ts'

type Volume = { name: string; size: number; used: number; workload: string | null }

export default async function volume(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('volume', args, {
    all: { kind: 'switch', short: 'a', about: 'prune: those with a name, too' },
    force: { kind: 'switch', short: 'f', about: "prune: nothing is asked anyway; for Docker's scripts" },
    json: JSON_FLAG,
  })
  const [verb, ...names] = rest
  if (verb === 'ls' && names.length === 0) {
    const all = await daemonCall<Volume[]>('GET', '/volumes')
    const rows = all.map((v) => [v.name, bytesText(v.size), bytesText(v.used), v.workload?.slice(0, 12) ?? ''])
    process.stdout.write(flags.json ? `${JSON.stringify(all)}\n` : table(['NAME', 'SIZE', 'ON DISK', 'USED BY'], rows))
  } else if (verb === 'rm' && names.length > 0) {
    for (const name of names) {
      await daemonCall('DELETE', `/volumes/${encodeURIComponent(name)}`)
      process.stdout.write(`${name}\n`)
    }
  } else if (verb === 'grow' && names.length === 2) {
    await daemonCall('POST', `/volumes/${encodeURIComponent(names[0]!)}/grow`, { size: parseBytes(names[1]!, 'size') })
  } else if (verb === 'prune' && names.length === 0) {
    const gone = await daemonCall<Volume[]>('POST', '/volumes/prune', { all: flags.all })
    const freed = bytesText(gone.reduce((sum, { used }) => sum + used, 0))
    const text = `${gone.map((v) => `${v.name}\n`).join('')}freed: ${freed}\n`
    process.stdout.write(flags.json ? `${JSON.stringify(gone)}\n` : text)
  } else
    throw new ZosError('zos volume: write zos volume ls, prune [-a], rm NAME… or grow NAME SIZE', { code: 'usage' })
  return 0
}
