import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { formatAddress, identityOf, ipv4OfSlot } from '../src/mycelium/index.ts'
import { sleep } from '../src/sys/index.ts'
import type { Agent } from '../src/vm/agent/agent.ts'
import { connectAgent } from '../src/vm/agent/client.ts'
import {
  bootVm,
  makeRoot,
  missing,
  processOf,
  type Root,
  startSpec,
  type TestCard,
  type TestVm,
} from '../src/vm/agent/vm.fixture.ts'
import { CARD_MTU } from '../src/vm/args.ts'
import { inTurn } from './overlay/lab.ts'
import { sh } from './overlay/net.ts'
import { cpuSecondsOf } from './peer.ts'
import type { Benchmark } from './row.ts'

const PORT = 5201
const SECONDS = 5
const ROUNDS = 5
const BOOT = 120_000
const id = `zv${process.pid % 10000}`

/** iperf3 of this machine and the libraries it is linked with. */
function withIperf(tree: string): void {
  const libraries = sh('ldd', ['/usr/bin/iperf3']).match(/\/[^ \n]+/g) ?? []
  for (const file of ['/usr/bin/iperf3', ...libraries]) {
    mkdirSync(join(tree, dirname(file)), { recursive: true })
    copyFileSync(file, join(tree, file))
  }
}

type Side = { vm: TestVm; agent: Agent }
type Pair = AsyncDisposable & { sides: [Side, Side]; to: string; others: number[] }

async function ask({ agent }: Side, ...argv: string[]): Promise<string> {
  const session = await agent.exec(processOf(...argv))
  const [out, err] = await Promise.all([buffer(session.stdout), buffer(session.stderr)])
  const { code } = await session.exit
  // iperf3 says in its report what failed
  if (code !== 0 && out.length === 0) throw new Error(`${argv.join(' ')}: exit ${code}: ${err}`)
  return String(out)
}

/** The way is found and the server is up: a byte of the stream passes. */
async function reach({ sides: [from], to }: Pair): Promise<void> {
  for (let left = 60; ; left--) {
    const { error } = JSON.parse(await ask(from, 'iperf3', '-J', '-n', '1', '-p', String(PORT), '-c', to))
    if (!error) return
    if (left === 0) throw new Error(`iperf3 to ${to}: ${error}`)
    await sleep(1_000)
  }
}

type Network = NonNullable<Parameters<typeof startSpec>[2]>['network']

/** A machine that waits for a client of iperf3, and can be one. */
async function machine(dir: string, root: Root, network: Network, card?: TestCard): Promise<Side> {
  const vm = await bootVm(dir, root, 256, card)
  const agent = await connectAgent(vm.socket, { fresh: true, timeout: BOOT })
  await agent.start(
    startSpec(root, processOf('iperf3', '-s'), {
      tmpfs: [{ target: '/tmp', options: 'size=16m' }],
      ...(network ? { network } : {}),
    }),
  )
  return { vm, agent }
}

/** Puts away in the order opposite to that in which it was made. */
function cleaning() {
  const acts: (() => unknown)[] = []
  return {
    after: (act: () => unknown) => void acts.unshift(act),
    async [Symbol.asyncDispose]() {
      for (const act of acts) await act()
    },
  }
}

/** Two machines whose cards are taps of one bridge: IPv4 and ARP as anywhere, MTU 1500 with all offloads. */
async function bridged(dir: string, root: Root): Promise<Pair> {
  const clean = cleaning()
  try {
    clean.after(() => spawnSync('ip', ['link', 'del', `${id}b`]))
    sh('ip', ['link', 'add', `${id}b`, 'type', 'bridge'])
    sh('ip', ['link', 'set', `${id}b`, 'up'])
    const sides: Side[] = []
    for (const i of [0, 1]) {
      const tap = `${id}t${i}`
      clean.after(() => spawnSync('ip', ['link', 'del', tap]))
      sh('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr'])
      sh('ip', ['link', 'set', tap, 'master', `${id}b`, 'up'])
      const card: TestCard = { link: { kind: 'tap', name: tap }, mac: `02:7a:6f:73:01:0${i}`, segments: true }
      const network = { address: identityOf(randomBytes(32)).address.toString('hex'), ipv4: ipv4OfSlot(i), mtu: 1500 }
      const side = await machine(join(dir, `b${i}`), root, network, card)
      clean.after(() => side.vm[Symbol.asyncDispose]())
      clean.after(() => side.agent[Symbol.asyncDispose]())
      await ask(side, 'ip', 'link', 'set', 'eth0', 'arp', 'on')
      sides.push(side)
    }
    return { ...clean, sides: sides as [Side, Side], to: '10.144.0.3', others: [] }
  } catch (error) {
    await clean[Symbol.asyncDispose]()
    throw error
  }
}

/** Two machines on two nodes of ours, each in a network namespace of its own with a cable between them. */
async function overlaid(dir: string, root: Root): Promise<Pair> {
  const clean = cleaning()
  try {
    const ns = (i: number) => `${id}n${i}`
    // as a node does: one for all machines, in which nothing but they is
    clean.after(() => spawnSync('ip', ['netns', 'del', `${id}m`]))
    sh('ip', ['netns', 'add', `${id}m`])
    for (const i of [0, 1]) {
      clean.after(() => spawnSync('ip', ['netns', 'del', ns(i)]))
      sh('ip', ['netns', 'add', ns(i)])
      sh('ip', ['-n', ns(i), 'link', 'set', 'lo', 'up'])
    }
    sh('ip', ['-n', ns(0), 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up0', 'netns', ns(1)])
    for (const i of [0, 1]) {
      sh('ip', ['-n', ns(i), 'addr', 'add', `10.94.0.${i + 1}/24`, 'dev', 'up0'])
      sh('ip', ['-n', ns(i), 'link', 'set', 'up0', 'up'])
    }
    const secrets = [randomBytes(32), randomBytes(32)]
    const members = secrets.map((secret, i) => ({
      name: `w${i}`,
      address: identityOf(secret).address.toString('hex'),
      ipv4: ipv4OfSlot(i),
    }))
    const sides: Side[] = []
    const nodes: ChildProcess[] = []
    for (const i of [0, 1]) {
      const card: TestCard = { link: { kind: 'tap', name: `zt${i}` }, namespace: `${id}m` }
      const side = await machine(join(dir, `o${i}`), root, { ...members[i]!, mtu: CARD_MTU.tap }, card)
      clean.after(() => side.vm[Symbol.asyncDispose]())
      clean.after(() => side.agent[Symbol.asyncDispose]())
      sides.push(side)
      const link = i === 0 ? { listen: `tcp://10.94.0.1:9651` } : { peer: `tcp://10.94.0.1:9651` }
      const given = { ...link, secret: secrets[i]!.toString('hex'), path: side.vm.nic, members, port: PORT }
      const script = resolve(import.meta.dirname, 'overlay/nic-node.ts')
      const words = [process.execPath, '--disable-warning=ExperimentalWarning', script, JSON.stringify(given)]
      const node = spawn('ip', ['netns', 'exec', ns(i), ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
      clean.after(() => node.kill('SIGKILL'))
      await Promise.race([
        once(node.stdout, 'data'),
        once(node, 'exit').then(() => Promise.reject(new Error('a node ended'))),
      ])
      nodes.push(node)
    }
    const to = formatAddress(Buffer.from(members[1]!.address, 'hex'))
    return { ...clean, sides: sides as [Side, Side], to, others: nodes.map((node) => node.pid!) }
  } catch (error) {
    await clean[Symbol.asyncDispose]()
    throw error
  }
}

/** Mbit/s received in one stream, and CPU seconds per gigabyte of the machines and of what is between them. */
async function stream({ sides: [from, far], to, others }: Pair) {
  const machines = [from.vm.pid, far.vm.pid]
  const before = { machines: cpuSecondsOf(machines), others: cpuSecondsOf(others) }
  const { end, error } = JSON.parse(
    await ask(from, 'iperf3', '-J', '-t', String(SECONDS), '-p', String(PORT), '-c', to),
  )
  if (error) throw new Error(`iperf3: ${error}`)
  const { bytes, bits_per_second } = end.sum_received as { bytes: number; bits_per_second: number }
  const per = (seconds: number) => seconds / (bytes / 1e9)
  return {
    rate: bits_per_second / 1e6,
    machines: per(cpuSecondsOf(machines) - before.machines),
    others: per(cpuSecondsOf(others) - before.others),
  }
}

const list = (values: number[]) => values.map((v) => v.toFixed(1)).join(' ')

export default {
  name: 'vm-to-vm',
  claim: 'one TCP stream from a workload to another on the next node, through both cards and daemons',
  lacks: () =>
    process.getuid?.() !== 0
      ? 'network namespaces and taps need root'
      : (missing() ?? (existsSync('/usr/bin/iperf3') ? undefined : 'iperf3 is not installed')),
  async run() {
    const dir = mkdtempSync(join(tmpdir(), 'zos-vm-to-vm-'))
    try {
      const root = await makeRoot(dir, withIperf)
      await using ours = await overlaid(dir, root)
      await using peer = await bridged(dir, root)
      // ways are known and code is compiled before anything counts
      for (const pair of [ours, peer]) {
        await reach(pair)
        await stream(pair)
      }
      const all = { ours: [] as Awaited<ReturnType<typeof stream>>[], peer: [] as Awaited<ReturnType<typeof stream>>[] }
      const take = (which: 'ours' | 'peer', pair: Pair) => async () => {
        const one = await stream(pair)
        all[which].push(one)
        return one.rate
      }
      const row = await inTurn(
        { unit: 'Mbit/s', better: 'higher', must: 0.5 },
        'the same machines on taps of a bridge',
        take('ours', ours),
        take('peer', peer),
        { rounds: ROUNDS },
      )
      return {
        ...row,
        notes: {
          ...row.notes,
          'CPU s/GB of the machines, ours': list(all.ours.map((one) => one.machines)),
          'CPU s/GB of the daemons, ours': list(all.ours.map((one) => one.others)),
          'CPU s/GB of the machines, peer': list(all.peer.map((one) => one.machines)),
        },
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  },
} satisfies Benchmark
