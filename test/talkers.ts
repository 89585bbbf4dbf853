import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '#sys'
import { viewAt } from './grid.ts'
import { busyboxTree, dockerArchive, type Node, ROOT, startNode, until } from './harness.ts'
import { giveKeys, PASSPHRASE } from './keys.ts'

/** A web server that also does what it is told: `/cgi-bin/run?COMMAND`. Its own page says its host name. */
const RUN = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
eval "$(httpd -d "$QUERY_STRING")" 2>&1
echo "exit $?"
`
const SERVE = 'trap "exit 0" TERM; hostname >/www/index.html; httpd -f -p 80 -h /www & wait'

export type NodeView = { name: string; pids: Record<'provision' | 'storage' | 'compute' | 'network', number> }

/** A local grid whose workloads can be had to talk to each other, driven through ./zos. */
export type Talkers = Disposable & {
  node: Node
  z: (...args: string[]) => string
  nodes: () => NodeView[]
  /** One member's word is enough in GROUP, which has deployment NAME of one workload per line: name, node, ports, more of its spec. */
  deploy: (
    name: string,
    group: string,
    workloads: [name: string, on: string, ports: string, ...more: string[]][],
    as?: string,
  ) => Promise<void>
  /** What COMMAND prints in a slot, and "exit CODE". */
  run: (slot: string, group: string, command: string) => Promise<string>
}

/** The overlay address of a slot's workload. */
export async function addressOf(grid: Talkers, slot: string, group: string): Promise<string> {
  const said = await grid.run(slot, group, 'ip -6 addr show eth0')
  return /inet6 ([45][0-9a-f:]+)\/7/.exec(said)![1]!
}

export async function startTalkers(nodes: number, groups: string[]): Promise<Talkers> {
  const node = startNode()
  const env = { ZOS_PASSPHRASE: PASSPHRASE }
  const forwards: ChildProcess[] = []
  const ports = new Map<string, Promise<number>>()
  const z = (...args: string[]) => {
    const said = node.zos(args, { env, timeout: 300 })
    if (said.code !== 0) throw new Error(`zos ${args.join(' ')}: exit ${said.code}: ${said.err.slice(-600)}`)
    return said.text
  }

  function forward(slot: string, group: string): Promise<number> {
    const known = ports.get(slot)
    if (known !== undefined) return known
    const made = forwarded(slot, group)
    ports.set(slot, made)
    return made
  }

  async function forwarded(slot: string, group: string): Promise<number> {
    const port = await freePort()
    const args = ['forward', slot, `${port}:80`, '--group', group]
    const at = { ...process.env, ...env, ZOS_HOME: node.home }
    forwards.push(spawn(join(ROOT, 'zos'), args, { stdio: 'ignore', env: at }))
    return port
  }

  const talkers: Talkers = {
    node,
    z,
    nodes: () => (JSON.parse(z('grid', 'status', '--json')) as { nodes: NodeView[] }).nodes,
    async deploy(name, group, workloads, as = 'alice') {
      const lines = workloads.flatMap(([w, on, listed, ...more]) => [
        `  - name: ${w}`,
        ...['image: web', 'memory: 64m', 'cpus: "0.5"', `ports: [${listed}]`, `nodes: [${on}]`, ...more].map(
          (l) => `    ${l}`,
        ),
      ])
      const replicas = lines.flatMap((line) => /^ *replicas: ([0-9]+)$/.exec(line)?.[1] ?? [])
      const wanted = replicas.reduce((sum, n) => sum + Number(n) - 1, workloads.length)
      const file = join(node.work, `${name}.yaml`)
      writeFileSync(file, `name: ${name}\nworkloads:\n${lines.join('\n')}\n`)
      z('deploy', file, '--group', group, '--as', as)
      await until(`"${name}" to run`, 120, async () => {
        const { slots } = await viewAt(node.home, group, name)
        return slots.length === wanted && slots.every((s) => s.state === 'running')
      })
    },
    run: (slot, group, command) =>
      until(`an answer of ${slot}`, 60, async () => {
        const url = `http://127.0.0.1:${await forward(slot, group)}/cgi-bin/run?${encodeURIComponent(command)}`
        // its body may be what comes too late
        const text = fetch(url, { signal: AbortSignal.timeout(30_000) }).then((answer) => answer.text())
        return text.catch(() => undefined)
      }),
    [Symbol.dispose]() {
      for (const child of forwards) child.kill('SIGKILL')
      node.zos(['grid', 'down'], { timeout: 120 })
      node[Symbol.dispose]()
    },
  }
  try {
    const tree = busyboxTree(join(node.work, 'tree'), { 'www/cgi-bin/run': RUN })
    chmodSync(join(tree, 'www/cgi-bin/run'), 0o755)
    const image = dockerArchive(join(node.work, 'web.tar'), tree, { Cmd: ['sh', '-c', SERVE] })
    node.ok(['publish', image, 'web'], { timeout: 300 })
    z('grid', 'up', '--nodes', String(nodes))
    await giveKeys(node, ['alice'])
    for (const group of groups) z('group', 'create', group, '--member', 'alice', '--threshold', '1')
    return talkers
  } catch (error) {
    talkers[Symbol.dispose]()
    throw error
  }
}
