import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { Daemon } from '#mycelium'
import { programFlags, tryRun } from '#sys'
import type { PlaneName } from './plane.ts'

const PLANES: PlaneName[] = ['network', 'storage', 'compute', 'provision']
/** Milliseconds a program may take to load: 2 s of CPU when nothing was compiled yet. */
const LIMIT = 60_000
/** How a plane's program ends that was told nothing. */
const USAGE = 2

/**
 * Loads each plane's program once where NODE_COMPILE_CACHE says that compiled code is kept: a plane that finds none strips
 * the types itself, and until it ends keeps the 12 MB that takes. One line for each that does not load.
 */
export async function warmPlanes(): Promise<string[]> {
  const said: string[] = []
  for (const name of PLANES) {
    const entry = join(import.meta.dirname, '..', name, 'main.ts')
    const { code, stderr } = await tryRun(process.execPath, [...programFlags(), entry], {
      timeout: LIMIT,
    })
    if (code !== USAGE) said.push(`the ${name} plane does not load: ${stderr.trim().split('\n').at(-1)}`)
  }
  // the packet thread is loaded by who starts it; this one has neither a peer nor a port
  await using _ = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [] })
  return said
}
