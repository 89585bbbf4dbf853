import { existsSync, mkdirSync } from 'node:fs'
import { connect, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { until } from '#sys'
import { isRunning, killProcess, processesWith } from '#vm'
import { gridDir } from './local.ts'
import { PROGRAMS, startService } from './services.ts'

/**
 * What a local grid stands on: its chain, its hub, and the overlay's relay, which all nodes dial, so that none listens. One
 * process each, known by the beginning of its command line.
 */
export const BACKINGS = ['chain', 'hub', 'relay'] as const
export type Backing = (typeof BACKINGS)[number]

const DEADLINE = 60_000

export type Service = { pid: number; port: number }

const folder = (name: Backing): string => join(gridDir(), name)
const keyFile = (): string => join(folder('relay'), 'key')

function programOf(name: Backing): string[] {
  if (name !== 'relay') return [PROGRAMS[name], '--dir', folder(name)]
  const api = `unix:${join(folder(name), 'api.sock')}`
  return [PROGRAMS.zos, 'mycelium', 'run', '--key-file', keyFile(), '--no-discovery', '--api', api]
}

/** This machine's nodes dial the relay by the loopback, wherever else it listens. */
const HERE = '127.0.0.1'
const hostOf = (address: string): string => (isIPv6(address) ? `[${address}]` : address)
export const relayAt = (address: string, port: number): string => `tcp://${hostOf(address)}:${port}`

const portOf = (name: Backing, port: number): string[] =>
  name === 'relay' ? ['--listen', relayAt(HERE, port)] : ['--port', String(port)]

/** What the relay is told besides: to which services it leads, by port, whose they are, and where it listens as well. */
export function relayFlags(services: Record<string, number>, address: string, port: number): string[] {
  const serve = Object.entries(services).flatMap(([name, at]) => ['--serve', `${name}=${HERE}:${at}`])
  const known = ['--grid', join(gridDir(), 'grid.json'), '--relayer']
  return [...serve, ...known, ...(address === HERE ? [] : ['--listen', relayAt(address, port)])]
}

/** What the hub is told besides: whose groups may keep things there, and by which address nodes know it. */
export const hubFlags = (place: string): string[] => ['--grid', join(gridDir(), 'grid.json'), '--name', place]

const running = (name: Backing) => processesWith([...programOf(name), ''].join('\0')).map(({ identity }) => identity)

/** Chain and hub answer HTTP; what they answer to this is their own affair. */
async function answers(port: number): Promise<boolean> {
  try {
    await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(3000) })
    return true
  } catch {
    return false
  }
}

/** The relay does not speak first. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 3000 })
    const end = (yes: boolean) => {
      socket.destroy()
      resolve(yes)
    }
    socket
      .on('connect', () => end(true))
      .on('error', () => end(false))
      .on('timeout', () => end(false))
  })
}

export async function backingState(name: Backing, port: number): Promise<Service | undefined> {
  const [found] = running(name)
  if (!found) return undefined
  return (await (name === 'relay' ? accepts : answers)(port)) ? { pid: found.pid, port } : undefined
}

/** Where nodes find chain and hub: on the overlay, at the relay (its key is made here if need be), which posts their words too. */
export async function placesOfServices(): Promise<{ rpc: string; hub: string; relayer: string }> {
  const { createKeyFile, formatAddress, formatServicePlace, identityOf, readSecret } = await import('#mycelium')
  mkdirSync(folder('relay'), { recursive: true, mode: 0o700 })
  if (!existsSync(keyFile())) await createKeyFile(keyFile())
  const { address } = identityOf(await readSecret(keyFile()))
  const [rpc, hub] = ['chain', 'hub'].map((service) => formatServicePlace({ address, service })) as [string, string]
  return { rpc, hub, relayer: formatAddress(address) }
}

/** Starts it at PORT where it does not run, told MORE; one that an "up" which was cut off has just started is waited for. */
export async function backingUp(name: Backing, port: number, more: string[] = []): Promise<Service> {
  const known = await backingState(name, port)
  if (known) return known
  const [begun] = running(name)
  if (begun)
    return until(`the ${name} to answer`, DEADLINE, () => backingState(name, port), 50).catch((cause: unknown) => {
      const why = `process ${begun.pid} runs already and does not answer at port ${port}; "zos grid down" ends it`
      throw new ZosError(`Start ${name}: ${why}`, { code: 'service-start', kind: 'node', cause })
    })
  mkdirSync(folder(name), { recursive: true, mode: 0o700 })
  // a small young generation halves the chain's memory for a tenth of its speed
  const engine = name === 'chain' ? ['--max-semi-space-size=4'] : []
  const args = [...engine, ...programOf(name), ...portOf(name, port), ...more]
  return startService(name, args, () => backingState(name, port), DEADLINE)
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
