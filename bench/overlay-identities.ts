import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ENVIRONMENT } from '../src/node/network/place.ts'
import { programFlags } from '../src/sys/index.ts'
import { startNode } from '../test/harness.ts'
import { against } from './overlay/lab.ts'
import { sh } from './overlay/net.ts'
import { planeWithCards } from './overlay/plane.ts'
import { lacksRival, yggdrasilCommand, yggdrasilConfig } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const COUNT = 100
const NAMESPACE = `zi${process.pid % 10000}`
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

/** Proportional set size in MB: shared pages are counted once. */
const pss = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))![1]) / 1024

async function measured(startAll: (dir: string) => Promise<ChildProcess[]>): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'zos-identities-'))
  sh('ip', ['netns', 'add', NAMESPACE])
  let children: ChildProcess[] = []
  try {
    sh('ip', ['-n', NAMESPACE, 'link', 'set', 'lo', 'up'])
    children = await startAll(dir)
    await sleep(5_000)
    const tuns = sh('ip', ['-n', NAMESPACE, '-br', 'link']).match(/^id\d+/gm)?.length ?? 0
    if (tuns !== COUNT) throw new Error(`${tuns} of ${COUNT} identities are there`)
    return children.reduce((sum, child) => sum + pss(child.pid!), 0)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    spawnSync('ip', ['netns', 'del', NAMESPACE])
    rmSync(dir, { recursive: true, force: true })
  }
}

// the cache of compiled code that `zos` gives all its programs; the network plane's flags let it write there
process.env.NODE_COMPILE_CACHE = resolve(import.meta.dirname, '../.cache/compiled')
/** As a node starts this one. */
const env = { ...process.env, ...ENVIRONMENT }
const start = (args: string[], cwd: string) =>
  spawn('ip', ['netns', 'exec', NAMESPACE, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'ignore'] })

/** One daemon, all identities attached to TUNs. */
async function ours(dir: string): Promise<ChildProcess[]> {
  const script = resolve(import.meta.dirname, 'overlay/identities-node.ts')
  const child = start([process.execPath, ...programFlags(), script, String(COUNT)], dir)
  await new Promise<void>((done, failed) => {
    child.stdout!.once('data', () => done())
    child.once('exit', (code) => failed(new Error(`the node ended with ${code}`)))
  })
  return [child]
}

/** All of a node's network plane, whose workloads have cards and firewalls. */
const plane = async (dir: string) => [await planeWithCards(start, dir, NAMESPACE, COUNT)]

/** One public daemon each, as the original grid runs them. */
async function publicDaemons(dir: string): Promise<ChildProcess[]> {
  return Array.from({ length: COUNT }, (_, i) => {
    const port = String(20_000 + i)
    const apis = ['--api-addr', `127.0.0.1:${30_000 + i}`, '--jsonrpc-addr', `127.0.0.1:${40_000 + i}`]
    const names = ['-k', join(dir, `${i}.key`), '--tun-name', `id${i}`]
    const peering = ['--disable-peer-discovery', '-t', port, '-q', port]
    return start([process.env.MYCELIUM_BIN!, ...names, ...apis, ...peering], dir)
  })
}

async function yggdrasils(dir: string): Promise<ChildProcess[]> {
  return Array.from({ length: COUNT }, (_, i) => {
    const file = join(dir, `${i}.json`)
    yggdrasilConfig(file, `id${i}`, [], [])
    return start(yggdrasilCommand(file), dir)
  })
}

const startAll = { ours, compatible: ours, public: publicDaemons, yggdrasil: yggdrasils }

export default {
  name: 'overlay-identities',
  claim:
    'memory (PSS) of 100 workload identities on one node that has been started before, beside its daemon and storage plane',
  lacks: lacksRival,
  async run() {
    // the first start compiles, and keeps what it needed for that
    await measured(ours)
    await measured(plane)
    const alone = await measured(ours)
    // A node's network plane is one of five programs of Node there, which share Node's own pages; here it is one of three.
    using node = startNode()
    node.ok(['ps'])
    const bar = { unit: 'MB', better: 'lower', must: 0.2 } as const
    const cards = await measured(plane)
    const row = await against(bar, (kind) => measured(startAll[kind]), { rounds: 3 })
    const notes = {
      ...row.notes,
      'MB without the other planes': alone.toFixed(1),
      'MB of a whole network plane with as many cards': cards.toFixed(1),
    }
    return { ...row, notes }
  },
} satisfies Benchmark
