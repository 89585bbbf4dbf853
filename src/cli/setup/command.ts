import { existsSync, globSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { reasonOf, sha256Hex } from '#codec'
import { CACHE, warmPlanes } from '#node'
import { parseFlags } from '../flags.ts'
import { ensureNodeSetup } from './index.ts'

const SOURCES = resolve(import.meta.dirname, '../..')

/** Loads the planes once for these sources and this Node: their compiled code is kept. What fails is one line each. */
async function loadPlanes(): Promise<void> {
  const facts = globSync('**/*.ts', { cwd: SOURCES }).map((file) => {
    const { size, mtimeMs } = statSync(join(SOURCES, file))
    return `${file} ${size} ${mtimeMs}`
  })
  const name = sha256Hex(Buffer.from([process.version, ...facts.sort()].join('\n'))).slice(0, 16)
  const stamp = join(CACHE, 'setup', `loaded-${name}`)
  if (existsSync(stamp)) return
  // what fails here fails again, and is handled, when a node runs it
  for (const line of await warmPlanes().catch((error: unknown) => [reasonOf(error)]))
    process.stderr.write(`zos: ${line}\n`)
  mkdirSync(join(CACHE, 'setup'), { recursive: true })
  for (const older of globSync('loaded-*', { cwd: join(CACHE, 'setup') })) rmSync(join(CACHE, 'setup', older))
  writeFileSync(stamp, '')
}

/** Everything `npm start` and `npm test` need on a bare Debian machine. */
export default async function setup(args: string[]): Promise<number> {
  const { flags } = parseFlags('setup', args, { yes: { kind: 'switch', short: 'y', about: 'install without asking' } })
  const guest = await ensureNodeSetup({ yes: flags.yes, purposes: ['run', 'demo', 'test'] })
  await loadPlanes()
  process.stdout.write(`set up: guest kernel ${guest.kernel.version}\n`)
  return 0
}
