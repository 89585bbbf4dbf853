import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '#codec'
import { call, places } from '#wire'
import { onlyFlags } from './flags.ts'
import { formatter } from './format.ts'

type Status = { pid: number; accel: string | null }

/** Of the running daemon; undefined when none runs, which is not started for this. */
async function server(): Promise<{ Pid: number; Accel: string } | undefined> {
  try {
    const { pid, accel } = await call<Status>(places().api, 'GET', '/status')
    return { Pid: pid, Accel: accel ?? 'starting' }
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ECONNREFUSED') return undefined
    throw error
  }
}

/** What runs here, and how. */
export default async function version(args: string[]): Promise<number> {
  const flags = onlyFlags('version', args, {
    format: { kind: 'value', short: 'f', about: 'only this, as {{.Client.Version}}' },
  })
  const manifest = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')
  const { version: Version } = JSON.parse(manifest) as { version: string }
  const Client = { Version, Node: process.version, Os: process.platform, Arch: process.arch }
  const Server = await server()
  if (flags.format !== undefined) process.stdout.write(`${formatter(flags.format)({ Client, Server })}\n`)
  else {
    const { Node, Os, Arch } = Client
    const daemon = Server ? `pid ${Server.Pid}, ${Server.Accel}` : 'none runs'
    process.stdout.write(`zos     ${Version} (Node ${Node}, ${Os}/${Arch})\ndaemon  ${daemon}\n`)
  }
  return 0
}
