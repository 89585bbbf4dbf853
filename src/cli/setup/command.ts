import { reasonOf } from '#codec'
import { warmPlanes } from '#node'
import { parseFlags } from '../flags.ts'
import { ensureNodeSetup } from './index.ts'

/** Everything `npm start` and `npm test` need on a bare Debian machine. */
export default async function setup(args: string[]): Promise<number> {
  const { flags } = parseFlags('setup', args, { yes: { kind: 'switch', short: 'y', about: 'install without asking' } })
  const guest = await ensureNodeSetup({ yes: flags.yes, purposes: ['run', 'demo', 'test'] })
  // what fails here fails again, and is handled, when a node runs it
  for (const line of await warmPlanes().catch((error: unknown) => [reasonOf(error)]))
    process.stderr.write(`zos: ${line}\n`)
  process.stdout.write(`set up: guest kernel ${guest.kernel.version}\n`)
  return 0
}
