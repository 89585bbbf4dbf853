import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { codeOf, ZosError } from '#codec'
import type { Daemon } from '#mycelium'
import { serveFar, waysTo } from '#node'
import { alive, callUnix, confinable, programFlags, until } from '#sys'
import { places } from '#wire'
import type { GridFacts } from './local.ts'
import type { Said } from './way_node.ts'

/** Where a program that knows no overlay finds chain and hubs of a grid. */
export type Way = AsyncDisposable & { rpc: string[]; hub: string[] }

/** Milliseconds until one of the grid's peers must have answered. */
const PEER_DEADLINE = 20_000

/** What a running `zos join` of this home offers to other commands: `GET /` and `GET /slots`. */
export type Joined = { facts: GridFacts; person: string; rpc: string[]; hub: string[] }
/** A slot that the person may reach. ADDRESS is of the overlay. */
export type ReachedSlot = { group: string; deployment: string; slot: number; address: string }

export const joinDir = (): string => `${places().run}-join`
const joinSocket = (): string => join(joinDir(), 'join.sock')

const askJoin = async <T>(path: string): Promise<T | undefined> => {
  try {
    return await callUnix<T>(joinSocket(), 'GET', path, { timeout: 5_000 })
  } catch (error) {
    if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET'].includes(codeOf(error))) return undefined
    throw error
  }
}

/** The `zos join` that runs in this home, if one does. */
export const joined = (): Promise<Joined | undefined> => askJoin('/')
export const reachedSlots = (): Promise<ReachedSlot[] | undefined> => askJoin('/slots')

/** Whether both describe one grid. */
export const isSame = (a: GridFacts, b: GridFacts): boolean => a.genesis === b.genesis && a.contract === b.contract

const isFar = ({ rpc, hub }: GridFacts): boolean => [...rpc, ...hub].some((url) => url.startsWith('mycelium:'))

/** The way to FACTS by DAEMON, through sockets in the folder DIR, which goes with it. */
export async function wayBy(daemon: Daemon, facts: GridFacts, dir: string): Promise<Way> {
  rmSync(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const rpc = waysTo('rpc', facts.rpc, dir, 'unix:')
  const hub = waysTo('hub', facts.hub, dir, 'http+unix:')
  const served = await serveFar(daemon, dir, [...rpc.far, ...hub.far])
  return {
    rpc: rpc.urls,
    hub: hub.urls,
    async [Symbol.asyncDispose]() {
      await served[Symbol.asyncDispose]()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Waits until DAEMON has one of its peers; says of each why not when none answers. */
export async function connected(daemon: Daemon): Promise<void> {
  const up = async () => (await daemon.peers()).some(({ state }) => state === 'up')
  try {
    await until('a peer of the overlay', PEER_DEADLINE, up, 20)
  } catch (cause) {
    if (codeOf(cause) !== 'deadline') throw cause
    const peers = await daemon.peers()
    const why = peers.map(({ endpoint, lastError }) => `"${endpoint}": ${lastError ?? 'no answer'}`).join(', ')
    throw new ZosError(`Reach the grid: none of its overlay peers answers (${why})`, {
      code: 'no-peer-answers',
      kind: 'node',
    })
  }
}

/** What commands that were killed left. */
function sweep(prefix: string): void {
  for (const name of readdirSync(dirname(prefix))) {
    const pid = name.startsWith(basename(prefix)) ? Number(name.slice(basename(prefix).length)) : 0
    if (pid > 0 && !alive(pid)) rmSync(join(dirname(prefix), name), { recursive: true, force: true })
  }
}

/** The way to FACTS by an overlay node for this command alone, through sockets in the folder DIR. */
async function ownWay(facts: GridFacts, dir: string): Promise<Way> {
  await using stack = new AsyncDisposableStack()
  // what it may write to has to be there when it starts
  await mkdir(dir, { recursive: true, mode: 0o700 })
  stack.defer(() => rmSync(dir, { recursive: true, force: true }))
  const child = fork(join(import.meta.dirname, 'way_node.ts'), [dir, JSON.stringify(facts)], {
    execArgv: [...programFlags(), ...confinable(dir)],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // what a terminal tells its foreground is for the command, which may need the way to end in order
    detached: true,
  })
  const ended = once(child, 'exit')
  stack.defer(async () => {
    if (child.connected) child.disconnect()
    await ended
  })
  const said = once(child, 'message').then(([one]) => one as Said)
  // after all that it said
  const silent = once(child, 'close').then(([code, signal]): Said => {
    const reason = `Reach the grid: the command's overlay node ended: ${signal ?? code}`
    return { reason, code: 'way-ended', kind: 'node' }
  })
  const first = await Promise.race([said, silent])
  if ('reason' in first) throw new ZosError(first.reason, first)
  const kept = stack.move()
  return { ...first, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/**
 * The way of a command to the grid of FACTS. Places of the overlay are reached by the `zos join` that runs here (HERE), else by
 * an identity made for this command alone; either way what is said is sealed for the chain's and the hub's own keys.
 */
export async function openWay(facts: GridFacts, here: Joined | undefined): Promise<Way> {
  if (!isFar(facts)) return { rpc: facts.rpc, hub: facts.hub, async [Symbol.asyncDispose]() {} }
  const same = here && isSame(here.facts, facts) && String(here.facts.rpc) === String(facts.rpc)
  if (same && String(here.facts.hub) === String(facts.hub))
    return { rpc: here.rpc, hub: here.hub, async [Symbol.asyncDispose]() {} }
  if (facts.peers.length === 0)
    throw new ZosError('Reach the grid: its chain is on the overlay, and its file names no peers', { code: 'no-peers' })
  const prefix = `${places().run}-way-`
  sweep(prefix)
  return ownWay(facts, `${prefix}${process.pid}`)
}
