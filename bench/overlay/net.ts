import { type ChildProcess, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { must } from '../peer.ts'
import { type Rival, yggdrasilCommand, yggdrasilConfig } from './rival.ts'

/** What runs in a namespace: ours, ours in the wire-compatible form, the public daemon ($MYCELIUM_BIN) or Yggdrasil. */
export type Kind = 'ours' | 'compatible' | Rival['kind']

const zos = resolve(import.meta.dirname, '../../zos')
export const sh = (file: string, args: string[]): string =>
  must(spawnSync(file, args), `${file} ${args.join(' ')}`).toString()

export type Net = Disposable & {
  addresses: string[]
  keyFile: (i: number) => string
  /** Where node I's API answers. */
  api: (i: number) => string
  namespace: (i: number) => string
  /** Runs a program in node I's namespace. */
  exec: (i: number, args: string[]) => SpawnSyncReturns<Buffer>
  spawn: (i: number, args: string[]) => ChildProcess
  start: (i: number) => void
  stop: (i: number) => Promise<void>
  pids: () => number[]
  /** Takes node I's cables out where its neighbours do not see it: they stay up and nothing answers. */
  blackHole: (i: number) => void
  /** Puts them back. */
  plugIn: (i: number) => void
  /** Bytes node I has sent to node J. */
  sentBytes: (i: number, j: number) => number
  /** Until the first node reaches the last. */
  reach: (seconds: number) => Promise<void>
}

/** Further flags of node I, which may name the public keys of all. */
type FlagsOf = (i: number, publicKeys: string[]) => string[]
type Edge = readonly [dials: number, listens: number]

/**
 * A network of namespaces: a switch in the middle, a cable and a subnet for each edge. Nothing runs in it yet. With
 * DISCOVERY the nodes are not told who is at the other end of their cables.
 */
export function createNet(
  kinds: readonly Kind[],
  edges: readonly Edge[],
  flags: FlagsOf = () => [],
  { discovery = false } = {},
): Net {
  const dir = mkdtempSync(join(tmpdir(), 'zos-overlay-'))
  const id = `zo${process.pid % 10000}`
  const ns = (i: number | 's') => `${id}${i}`
  const daemons = new Map<number, ChildProcess>()
  const ipOf = (edge: number, end: 0 | 1) => `10.93.${edge}.${end + 1}`
  const key = (i: number) => join(dir, `${i}.key`)
  const api = (i: number) => join(dir, `${i}.sock`)
  const last = kinds.length - 1
  const identities: { address: string; publicKey: string }[] = []

  function cable(edge: number, [dials, listens]: Edge): void {
    sh('ip', ['-n', ns('s'), 'link', 'add', `br${edge}`, 'type', 'bridge'])
    sh('ip', ['-n', ns('s'), 'link', 'set', `br${edge}`, 'up'])
    for (const [end, i, other] of [
      [0, dials, listens],
      [1, listens, dials],
    ] as const) {
      const port = `p${edge}x${i}`
      sh('ip', ['-n', ns('s'), 'link', 'add', port, 'type', 'veth', 'peer', 'name', `e${other}`, 'netns', ns(i)])
      sh('ip', ['-n', ns('s'), 'link', 'set', port, 'master', `br${edge}`])
      sh('ip', ['-n', ns('s'), 'link', 'set', port, 'up'])
      sh('ip', ['-n', ns(i), 'addr', 'add', `${ipOf(edge, end)}/24`, 'dev', `e${other}`])
      sh('ip', ['-n', ns(i), 'link', 'set', `e${other}`, 'up'])
    }
  }

  function peersOf(i: number): string[] {
    const dials = (edge: Edge) => !discovery && edge[0] === i
    return edges.flatMap((edge, n) => (dials(edge) ? [`tcp://${ipOf(n, 1)}:9651`] : []))
  }

  function identity(i: number): { address: string; publicKey: string } {
    if (kinds[i] === 'yggdrasil') return yggdrasilConfig(key(i), 'ov0', ['tcp://0.0.0.0:9651'], peersOf(i))
    return JSON.parse(sh(zos, ['mycelium', 'keygen', key(i), '--json']))
  }

  function command(i: number): string[] {
    if (kinds[i] === 'yggdrasil') return yggdrasilCommand(key(i))
    const peers = peersOf(i)
    const keys = identities.map(({ publicKey }) => publicKey)
    if (kinds[i] === 'public') {
      const common = [
        '-k',
        key(i),
        '--tun-name',
        'ov0',
        ...(discovery ? [] : ['--disable-peer-discovery']),
        '-t',
        '9651',
        '-q',
        '9651',
      ]
      return [process.env.MYCELIUM_BIN!, ...common, ...flags(i, keys), ...(peers.length ? ['--peers', ...peers] : [])]
    }
    const legacy = kinds[i] === 'compatible' ? identities.flatMap(({ publicKey }) => ['--legacy', publicKey]) : []
    const run = ['mycelium', 'run', '--key-file', key(i), '--listen', 'tcp://[::]:9651', '--tun', 'ov0']
    const more = ['--api', `unix:${api(i)}`, ...(discovery ? [] : ['--no-discovery']), ...flags(i, keys)]
    return [zos, ...run, ...more, ...legacy, ...peers.flatMap((p) => ['--peer', p])]
  }

  function eachPort(i: number, change: (edge: number) => string[]): void {
    for (const [edge, ends] of edges.entries())
      if (ends.includes(i)) sh('ip', ['-n', ns('s'), 'link', 'set', `p${edge}x${i}`, ...change(edge)])
  }

  const net: Net = {
    get addresses() {
      return identities.map(({ address }) => address)
    },
    namespace: ns,
    keyFile: key,
    api,
    exec: (i, args) => spawnSync('ip', ['netns', 'exec', ns(i), ...args]),
    spawn: (i, args) => spawn('ip', ['netns', 'exec', ns(i), ...args], { stdio: ['ignore', 'pipe', 'ignore'] }),
    start(i) {
      const child = spawn('ip', ['netns', 'exec', ns(i), ...command(i)], { stdio: 'ignore', cwd: dir })
      daemons.set(i, child)
    },
    async stop(i) {
      const child = daemons.get(i)
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const gone = new Promise((done) => child.once('exit', done))
      child.kill('SIGKILL')
      await gone
    },
    pids: () => [...daemons.values()].map((child) => child.pid!),
    blackHole: (i) => eachPort(i, () => ['nomaster']),
    plugIn: (i) => eachPort(i, (edge) => ['master', `br${edge}`]),
    sentBytes(i, j) {
      const [link] = JSON.parse(sh('ip', ['-n', ns(i), '-s', '-j', 'link', 'show', 'dev', `e${j}`]))
      return link.stats64.tx.bytes
    },
    async reach(seconds) {
      const end = performance.now() + seconds * 1000
      while (net.exec(0, ['ping', '-6', '-c', '1', '-W', '1', net.addresses[last]!]).status !== 0) {
        if (performance.now() > end) throw new Error(`${kinds.join('-')}: no answer within ${seconds} s`)
        await new Promise((done) => setTimeout(done, 50))
      }
    },
    [Symbol.dispose]() {
      for (const child of daemons.values()) child.kill('SIGKILL')
      for (const i of [...kinds.keys(), 's'] as const) spawnSync('ip', ['netns', 'del', ns(i)])
      rmSync(dir, { recursive: true, force: true })
    },
  }
  try {
    for (const i of [...kinds.keys(), 's'] as const) sh('ip', ['netns', 'add', ns(i)])
    for (const i of kinds.keys()) {
      sh('ip', ['-n', ns(i), 'link', 'set', 'lo', 'up'])
      identities.push(identity(i))
    }
    for (const [edge, ends] of edges.entries()) cable(edge, ends)
    return net
  } catch (error) {
    net[Symbol.dispose]()
    throw error
  }
}
