import { reasonOf, ZosError } from '#codec'
import { daemonCall, pathOf } from './daemon.ts'
import { JSON_FLAG, onlyFlags, parseBytes, parseFlags } from './flags.ts'
import { inspectEach } from './inspect.ts'
import { bytesText, table } from './terminal.ts'

type Volume = { name: string; size: number; used: number; workload: string | null }

const usage = (): ZosError =>
  new ZosError(
    'zos volume: write zos volume ls, create [--size SIZE] [NAME], inspect NAME…, rm NAME…, grow NAME SIZE or prune [-a]',
    { code: 'usage' },
  )

const VERBS: Record<string, (args: string[]) => Promise<number>> = {
  async ls(args) {
    const { json } = onlyFlags('volume ls', args, { json: JSON_FLAG })
    const all = await daemonCall<Volume[]>('GET', '/volumes')
    const rows = all.map((v) => [v.name, bytesText(v.size), bytesText(v.used), v.workload?.slice(0, 12) ?? ''])
    process.stdout.write(json ? `${JSON.stringify(all)}\n` : table(['NAME', 'SIZE', 'ON DISK', 'USED BY'], rows))
    return 0
  },
  async create(args) {
    const { flags, rest } = parseFlags('volume create', args, {
      size: { kind: 'value', about: 'what it can hold, as 64m or 1g; 16g when nothing is said' },
    })
    if (rest.length > 1) throw usage()
    const size = flags.size === undefined ? undefined : parseBytes(flags.size, '--size')
    const { name } = await daemonCall<{ name: string }>('POST', '/volumes', { name: rest[0], size })
    process.stdout.write(`${name}\n`)
    return 0
  },
  async inspect(args) {
    const { flags, rest } = parseFlags('volume inspect', args, {
      format: { kind: 'value', short: 'f', about: 'only this, as {{.Mountpoint}}' },
    })
    if (rest.length === 0) throw usage()
    return inspectEach(rest, ['volume'], flags.format)
  },
  async rm(args) {
    const { rest } = parseFlags('volume rm', args, {})
    if (rest.length === 0) throw usage()
    let failed = false
    for (const name of rest) {
      try {
        await daemonCall('DELETE', pathOf('volumes', name))
        process.stdout.write(`${name}\n`)
      } catch (error) {
        failed = true
        process.stderr.write(`zos: ${reasonOf(error)}\n`)
      }
    }
    return failed ? 1 : 0
  },
  async grow(args) {
    const [name, size, ...more] = parseFlags('volume grow', args, {}).rest
    if (name === undefined || size === undefined || more.length > 0) throw usage()
    await daemonCall('POST', `${pathOf('volumes', name)}/grow`, { size: parseBytes(size, 'size') })
    return 0
  },
  async prune(args) {
    const flags = onlyFlags('volume prune', args, {
      all: { kind: 'switch', short: 'a', about: 'those with a name, too' },
      force: { kind: 'switch', short: 'f', about: "nothing is asked anyway; for Docker's scripts" },
      json: JSON_FLAG,
    })
    const gone = await daemonCall<Volume[]>('POST', '/volumes/prune', { all: flags.all })
    const freed = bytesText(gone.reduce((sum, { used }) => sum + used, 0))
    const text = `${gone.map((v) => `${v.name}\n`).join('')}freed: ${freed}\n`
    process.stdout.write(flags.json ? `${JSON.stringify(gone)}\n` : text)
    return 0
  },
}

export default async function volume([verb = '', ...args]: string[]): Promise<number> {
  const act = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined
  if (!act) throw usage()
  return act(args)
}
