import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, until } from '#sys'
import { isRunning, killProcess, processesWith } from '#vm'
import { gridDir } from './local.ts'
import { PROGRAMS, startService } from './services.ts'

/** What a local grid stands on: its chain and its hub, each one process, known by program and folder in its arguments. */
export type Backing = 'chain' | 'hub'

export type Service = { pid: number; port: number }

const folder = (name: Backing): string => join(gridDir(), name)
const running = (name: Backing) =>
  processesWith([PROGRAMS[name], '--dir', folder(name), ''].join('\0')).map(({ identity }) => identity)

/** Both answer HTTP; what they answer to this is their own affair. */
async function answers(port: number): Promise<boolean> {
  try {
    await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(3000) })
    return true
  } catch {
    return false
  }
}

export async function backingState(name: Backing, port: number): Promise<Service | undefined> {
  const [found] = running(name)
  return found && (await answers(port)) ? { pid: found.pid, port } : undefined
}

/** Starts it where it does not run. PORT 0: a free one, to be kept for later starts. */
export async function backingUp(name: Backing, port: number): Promise<Service> {
  const known = port === 0 ? undefined : await backingState(name, port)
  if (known) return known
  mkdirSync(folder(name), { recursive: true, mode: 0o700 })
  const at = port || (await freePort())
  // a small young generation halves the chain's memory for a tenth of its speed
  const engine = name === 'chain' ? ['--max-semi-space-size=4'] : []
  const args = [...engine, PROGRAMS[name], '--dir', folder(name), '--port', String(at)]
  return startService(name, args, () => backingState(name, at), 60_000)
}

/** Lets it end by itself, then makes it. */
export async function backingDown(name: Backing): Promise<void> {
  for (const identity of running(name)) {
    try {
      process.kill(identity.pid, 'SIGTERM')
      await until(`the ${name} to end`, 20_000, () => !isRunning(identity), 20)
    } catch {
      killProcess(identity)
    }
  }
}
