import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { freePort } from '#sys'
import { groupNamed, openContext } from '../src/cli/grid/context.ts'
import { viewOf } from '../src/cli/grid/deployment_status.ts'
import { places } from '../src/wire/index.ts'
import { busyboxTree, dockerArchive, type Node, ROOT, startNode, until } from './harness.ts'
import { giveKeys, PASSPHRASE } from './keys.ts'

export type Slot = {
  slot: number
  standby?: true
  node: string
  farm: string
  country: string
  version: number
  state: string
  reason: string
}
export type View = { name: string; version: number; state: string; slots: Slot[] }
export type NodeView = {
  name: string
  state: string
  pid: number
  pids: Record<'provision' | 'storage' | 'compute' | 'network', number>
}

export const PAGE = 'hello from a node\n'

/** A local grid of its own for one test file, driven through ./zos as members would. */
export type Grid = Disposable & {
  node: Node
  /** Runs ./zos; throws unless the exit code is 0. */
  z: (...args: string[]) => string
  j: <T>(...args: string[]) => T
  /** What a refused command said: throws when it was taken. */
  refused: (...args: string[]) => string
  /** Writes a spec of one workload and gives its file. LINES are added to the workload. */
  spec: (name: string, lines?: string[], top?: string[]) => string
  /** The second of three approves what is open. */
  second: (as?: string) => void
  /** As the chain has it; asked in this process, for it is asked often. */
  status: (name: string) => Promise<View>
  /** Waits until every slot of NAME runs VERSION (of the spec's own count when left out). */
  runs: (name: string, version?: number) => Promise<View>
  nodes: () => NodeView[]
  /** The page of a slot, asked through a forward. */
  page: (slot: string) => Promise<string>
  /** Where chain and hub answer on this machine. */
  services: () => { rpc: string[]; hub: string[] }
  home: (node: string) => string
  run: (node: string) => string
}

/** A deployment of GROUP as the local grid of HOME has it, asked in this process: a command takes half a second of CPU. */
export async function viewAt(home: string, group: string, name: string): Promise<View> {
  process.env.ZOS_HOME = home
  const context = await openContext()
  return viewOf(context, groupNamed(context, group).group, name)
}

/** Three members, NODES nodes, an image "web" that serves PAGE on port 80 and prints the second ten times in each. */
export async function startGrid(nodes: number, threshold: string[] = ['2']): Promise<Grid> {
  const node = startNode()
  const env = { ZOS_PASSPHRASE: PASSPHRASE }
  const forwards: ChildProcess[] = []
  const z = (...args: string[]) => {
    const said = node.zos(args, { env, timeout: 300 })
    if (said.code !== 0) throw new Error(`zos ${args.join(' ')}: exit ${said.code}: ${said.err.slice(-600)}`)
    return said.text
  }
  const j = <T>(...args: string[]) => JSON.parse(z(...args, '--json')) as T
  const status = (name: string) => viewAt(node.home, 'team', name)
  const grid: Grid = {
    node,
    z,
    j,
    refused(...args) {
      const said = node.zos(args, { env, timeout: 300 })
      const lines = said.err.trim().split('\n')
      if (said.code === 0 || said.code === null) throw new Error(`zos ${args.join(' ')} was taken: ${said.text}`)
      if (lines.length !== 1 || !/^zos[: ]/.test(said.err)) throw new Error(`not one clear line: ${said.err}`)
      return lines[0]!
    },
    spec(name, lines = [], top = []) {
      const file = join(node.work, `${name}.yaml`)
      const workload = ['- name: web', '  image: web', '  memory: 64m', ...lines.map((l) => `  ${l}`)]
      writeFileSync(file, [`name: ${name}`, ...top, 'workloads:', ...workload.map((l) => `  ${l}`), ''].join('\n'))
      return file
    },
    second(as = 'bob') {
      for (const { id } of j<{ id: string }[]>('proposals')) z('approve', id, '--as', as)
    },
    status,
    runs: (name, version) =>
      until(`"${name}" to run`, 120, async () => {
        const view = await status(name)
        const there = (s: Slot) => s.state === 'running' && s.version === (version ?? view.version)
        return view.slots.length > 0 && view.slots.every(there) && view
      }) as Promise<View>,
    nodes: () => j<{ nodes: NodeView[] }>('grid', 'status').nodes,
    async page(slot) {
      const at = await freePort()
      const child = spawn(join(ROOT, 'zos'), ['forward', slot, `${at}:80`], {
        stdio: 'ignore',
        env: { ...process.env, ...env, ZOS_HOME: node.home },
      })
      forwards.push(child)
      try {
        return await until(`the page of ${slot}`, 60, () => fetchPage(at))
      } finally {
        child.kill('SIGTERM')
      }
    },
    services: () => JSON.parse(readFileSync(join(node.home, 'grid/grid.json'), 'utf8')),
    home: (name) => join(node.home, 'grid/nodes', name),
    run: (name) => places({ ZOS_HOME: join(node.home, 'grid/nodes', name) }).run,
    [Symbol.dispose]() {
      for (const child of forwards) child.kill('SIGKILL')
      node.zos(['grid', 'down'], { timeout: 120 })
      node[Symbol.dispose]()
    },
  }
  try {
    mkdirSync(join(node.work, 'tree'))
    const tree = busyboxTree(join(node.work, 'tree'), {
      'www/index.html': PAGE,
      'bin/web': '#!/bin/sh\ntrap "exit 0" TERM\nhttpd -p 80 -h /www\nwhile true; do date +%s; usleep 100000; done\n',
    })
    const image = dockerArchive(join(node.work, 'web.tar'), tree, { Cmd: ['sh', '/bin/web'] })
    node.ok(['publish', image, 'web'], { timeout: 300 })
    z('grid', 'up', '--nodes', String(nodes))
    await giveKeys(node, ['alice', 'bob', 'carol'])
    const members = ['alice', 'bob', 'carol'].flatMap((m) => ['--member', m])
    z('group', 'create', 'team', ...members, ...threshold.flatMap((t) => ['--threshold', t]))
    return grid
  } catch (error) {
    grid[Symbol.dispose]()
    throw error
  }
}

function fetchPage(port: number): Promise<string> {
  return new Promise((resolve) => {
    const req = request({ host: '127.0.0.1', port, timeout: 3000, agent: false }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (d: string) => (text += d))
      res.on('end', () => resolve(text))
      res.on('error', () => resolve(''))
    })
    req.on('error', () => resolve(''))
    req.on('timeout', () => req.destroy())
    req.end()
  })
}
