import { join, resolve } from 'node:path'
import { reasonOf } from '#codec'
import { CACHE, warmPlanes } from '#node'
import { byContent, filesBelow, writeAtomic } from '#sys'
import { onlyFlags } from '../flags.ts'
import { ensureNodeSetup } from './index.ts'

const SOURCES = resolve(import.meta.dirname, '../..')

/** Loads the planes once for these sources and this Node: their compiled code is kept. What fails is one line each. */
async function loadPlanes(): Promise<void> {
  const dir = join(CACHE, 'loaded')
  await byContent(dir, filesBelow(SOURCES, ['.ts']), process.version, async (key) => {
    // what fails here fails again, and is handled, when a node runs it
    for (const line of await warmPlanes().catch((error: unknown) => [reasonOf(error)]))
      process.stderr.write(`zos: ${line}\n`)
    await writeAtomic(join(dir, key), '', { sync: false })
  })
}

/** Everything `npm start` and `npm test` need on a bare Debian machine. */
export default async function setup(args: string[]): Promise<number> {
  const flags = onlyFlags('setup', args, { yes: { kind: 'switch', short: 'y', about: 'install without asking' } })
  const guest = await ensureNodeSetup({ yes: flags.yes, purposes: ['run', 'demo', 'test'] })
  await loadPlanes()
  process.stdout.write(`set up: guest kernel ${guest.kernel.version}\n`)
  return 0
}
