import { mkdirSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { callUnix, serveUnix, sleep, tryLock } from '#sys'
import { places } from '#wire'
import { whenRemoved } from '../lock.ts'
import { ENVIRONMENT, flags } from '../network/place.ts'
import { waysTo } from '../network/ways.ts'
import { keepPlane, type Plane, type PlaneName, type PlaneSpec } from './plane.ts'

export type NodeOptions = {
  home: string
  rpc: readonly string[]
  hub: readonly string[]
  /** Where the overlay's peers find this node, and where it finds them: `tcp://IP:PORT`. */
  listen: readonly string[]
  peers: readonly string[]
  /** The overlay address of who posts this node's signed words; without one it posts them itself. */
  relayer?: string
  log: (line: string) => void
}

export type NodeStatus = {
  pid: number
  state: 'up' | 'starting'
  pids: Record<PlaneName, number | null>
  restarts: Record<PlaneName, number>
}

/** Milliseconds between two looks at what a node that starts still lacks. */
const LOOK = 2000

const NODE = join(import.meta.dirname, '..')

/** Sockets by which each plane says that it is there. */
const PING: Record<PlaneName, [socket: string, path: string]> = {
  storage: ['storage.sock', '/status'],
  compute: ['compute.sock', '/ping'],
  network: ['network.sock', '/ping'],
  provision: ['provision.sock', '/status'],
}

/** How long a plane may take to end: compute lets file systems settle first. */
const GRACE: Record<PlaneName, number> = { provision: 3000, compute: 30_000, storage: 10_000, network: 3000 }

/** The socket of the node of HOME. */
export const supervisorSocket = (home: string): string => join(places({ ZOS_HOME: home }).run, 'supervisor.sock')

function planesOf({ home, listen, peers, relayer, ...at }: NodeOptions, run: string): PlaneSpec[] {
  const args = ['--home', home, '--run', run]
  const rpc = waysTo('rpc', at.rpc, run, 'unix:')
  const hub = waysTo('hub', at.hub, run, 'http+unix:')
  const words = relayer === undefined ? [] : ['--relayer', relayer]
  const far = [...rpc.far, ...hub.far].map(({ socket, place }) => `${socket}=${place}`).join(',')
  return [
    {
      name: 'network',
      entry: join(NODE, 'network/main.ts'),
      args: [
        ...['--run', run, '--hub', hub.urls.join(','), '--far', far],
        ...['--listen', listen.join(','), '--peer', peers.join(','), ...words],
      ],
      isolated: false,
      flags: flags(run),
      environment: ENVIRONMENT,
    },
    {
      name: 'storage',
      entry: join(NODE, 'storage/main.ts'),
      args: [...args, '--hub', `http+unix:${join(run, 'network.sock')}`],
      isolated: true,
    },
    { name: 'compute', entry: join(NODE, 'compute/main.ts'), args, isolated: true },
    {
      name: 'provision',
      entry: join(NODE, 'provision/main.ts'),
      args: [...args, '--rpc', rpc.urls.join(','), ...words],
      // nothing of it is elsewhere: it needs no network of its own
      isolated: rpc.far.length === rpc.urls.length,
    },
  ]
}

/** Runs a node until it is told to end: its four planes, each a process of its own, started again when they die. */
export async function runNode(options: NodeOptions): Promise<void> {
  const { home, log } = options
  const { run } = places({ ZOS_HOME: home })
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const lock = join(home, 'node.lock')
  if (!tryLock(openSync(lock, 'a', 0o600)))
    throw new ZosError(`Run node "${home}": it runs already`, { code: 'node-runs' })
  mkdirSync(run, { recursive: true, mode: 0o711 })
  // of an earlier life: whoever pings must not take a socket file for a plane
  for (const [socket] of Object.values(PING)) rmSync(join(run, socket), { force: true })
  const planes = planesOf(options, run).map((spec) => keepPlane(spec, { home, log }))
  const byName = <T>(of: (plane: Plane) => T) =>
    Object.fromEntries(planes.map((p) => [p.name, of(p)])) as Record<PlaneName, T>

  const answers = async ({ name, pid }: Plane): Promise<boolean> => {
    const [socket, path] = PING[name]
    try {
      return (await callUnix<{ pid: number }>(join(run, socket), 'GET', path, { timeout: 3000 })).pid === pid()
    } catch {
      return false
    }
  }
  const status = async (): Promise<NodeStatus> => ({
    pid: process.pid,
    state: (await Promise.all(planes.map(answers))).every(Boolean) ? 'up' : 'starting',
    pids: byName((p) => p.pid()),
    restarts: byName((p) => p.restarts()),
  })

  /** What keeps this node from its work, in words; '' when nothing does. */
  const lacks = async (): Promise<string> => {
    if ((await status()).state === 'starting') return 'its planes start'
    const asked = callUnix<{ away: string; reached: boolean }>(join(run, 'provision.sock'), 'GET', '/status')
    const { away, reached } = await asked.catch(() => ({ away: 'no answer of its provision plane', reached: false }))
    return reached ? '' : away || 'the chain is asked'
  }
  /** Who runs it in the foreground sees what it waits for, until the chain was reached. */
  const tell = async () => {
    for (let said = ''; !ending.signal.aborted; await sleep(LOOK, ending.signal).catch(() => {})) {
      const now = await lacks()
      if (now !== said) log(now || 'its planes are up, and the chain answers')
      if (now === '') return
      said = now
    }
  }

  const ending = new AbortController()
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const finish = () => {
    ending.abort()
    resolve()
  }
  const server = await serveUnix(supervisorSocket(home), {
    calls: { 'GET /status': status, 'POST /down': () => finish() },
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => finish())
  whenRemoved(lock, () => {
    log(`"${home}" was removed`)
    finish()
  })
  log(`up: pid ${process.pid}, state in ${home}`)
  void tell()
  await over
  log('down')
  // who gives orders first, then who obeys, what it stands on last
  for (const name of ['provision', 'compute', 'storage', 'network'] as const)
    await planes.find((p) => p.name === name)!.stop(GRACE[name])
  server.close()
  rmSync(run, { recursive: true, force: true })
}
