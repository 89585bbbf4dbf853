import { randomBytes } from 'node:crypto'
import { reasonOf, ZosError } from '#codec'
import type { StartSpec } from '#vm'
import type { NetworkRequest } from '#wire'
import { connect } from './connect.ts'
import { tellLease } from './lease.ts'
import type { DiskBinding, Machine } from './parts.ts'
import { publishPorts } from './ports.ts'
import { restartDelay } from './restart.ts'
import { settle } from './settle.ts'
import { watchStall } from './stall.ts'
import { watch } from './watch.ts'
import { announce, dial, dropRestart, folderFor, keep, NODE_DOWN, openLog, save, type Workload } from './workload.ts'

/** Starts it in a machine of its own. When it cannot, the status says why and the error is thrown. */
export function start(workload: Workload, note: (line: string) => void): Promise<void> {
  // a restart by policy and one that was asked for are the same one: never two machines
  workload.starting ??= startNow(workload, note).finally(() => {
    workload.starting = undefined
  })
  return workload.starting
}

/** A start that failed is tried again after this at the earliest: what it lacks seldom comes sooner. Milliseconds. */
const AGAIN = 1000

/** Starts it again after DELAY milliseconds, as its policy says. */
export function restartLater(workload: Workload, delay: number): void {
  if (workload.halted || workload.removed) return
  workload.restartTimer = setTimeout(() => {
    workload.restartTimer = undefined
    workload.status.restarts++
    startByPolicy(workload)
  }, delay)
}

/** Starts it with nobody waiting: what goes wrong is in its status and the log, and it is tried again as its policy says. */
export function startByPolicy(workload: Workload): void {
  const { at, spec } = workload
  start(workload, () => {}).catch((error: unknown) => {
    at.log(`start ${spec.name}: ${reasonOf(error)}`)
    const { exitCode, byHand, restarts } = workload.status
    const delay = restartDelay(spec.restart, { exitCode: exitCode ?? 125, byHand, ran: 0, restarts })
    if (delay !== undefined) restartLater(workload, Math.max(delay, AGAIN))
  })
}

async function startNow(workload: Workload, note: (line: string) => void): Promise<void> {
  const { at, spec } = workload
  const { storage, machines, volumes } = at
  if (workload.status.state === 'running' || workload.status.state === 'paused') return
  dropRestart(workload)
  await workload.settled
  try {
    const mounts = await volumes.acquire(spec.id, spec.volumes)
    const { memory, cpus, digest, readOnly, disk } = spec
    const command = { argv: spec.argv, env: spec.env, cwd: spec.cwd }
    const folder = folderFor(workload)
    const machine = await machines.get({ memory, cpus, folder, digest, command, readOnly, disk, volumes: mounts, note })
    workload.machine = machine
    const stalled = Promise.withResolvers<never>()
    stalled.promise.catch(() => {})
    watchStall(workload, machine, stalled.reject)
    plugIn(workload, machine)
    workload.status.outputBase = openLog(workload).end
    const [binding, agent] = await Promise.all([
      storage.bind(machine.exportId, spec.digest),
      connect(workload, machine, machine.fresh),
      openPorts(workload),
    ])
    workload.agent = agent
    await storage.check(machine.exportId, command)
    await keep(workload, { machine: machine.record, hostPorts: workload.ports?.hosts ?? [] })
    if (workload.lease !== undefined) await tellLease(agent, workload.lease)
    await Promise.race([agent.start(startSpec(workload, binding, machine)), stalled.promise])
  } catch (error) {
    await failed(workload, error)
    throw error
  }
  const startedAt = new Date().toISOString()
  const none = { exitCode: null, reason: '', oom: false, finishedAt: null, byHand: false }
  workload.health = { status: 'starting', failingStreak: 0, log: [] }
  await save(workload, { state: 'running', startedAt, health: 'starting', ...none })
  void storage.ready(workload.machine!.exportId).catch(() => {})
  watch(workload, restartLater)
  machines.refill()
}

/** What the guest is told of its card; its files are written apart. */
const cardOf = ({ hosts: _, resolvConf: __, ...card }: NetworkRequest, mtu: number) => ({ ...card, mtu })

/** Shows the network plane where the workload's card is; it is on the overlay before its program runs. */
export function plugIn({ at, spec }: Workload, machine: Machine): void {
  if (spec.network) at.cards.plug(spec.name, machine.nic)
}

/** Listens for its published ports; those that nobody chose a number for get one, or the one in CHOSEN. */
export async function openPorts(workload: Workload, chosen: readonly number[] = []): Promise<void> {
  const ports = workload.spec.ports.map((p, n) => ({ ...p, host: p.host || (chosen[n] ?? 0) }))
  if (ports.length > 0) workload.ports = await publishPorts(ports, (guest) => dial(workload, guest))
}

async function failed(workload: Workload, error: unknown): Promise<void> {
  const code = error instanceof ZosError ? error.details.exitCode : undefined
  const exitCode = typeof code === 'number' ? code : 125
  settle(workload, false)
  const finishedAt = new Date().toISOString()
  const reason = workload.halted ? NODE_DOWN : reasonOf(error)
  await save(workload, { state: 'exited', exitCode, reason, finishedAt, machine: null })
  await workload.settled
  announce(workload)
}

function hostsOf({ hostname, network, hosts = [] }: Workload['spec']): string {
  const own = network?.hosts ?? `127.0.0.1\t${hostname}\n`
  const more = hosts.map(({ address, name }) => `${address}\t${name}\n`).join('')
  return `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n${own}${more}`
}

function startSpec({ spec }: Workload, root: DiskBinding, { volumeSerials, mtu }: Machine): StartSpec {
  return {
    hostname: spec.hostname,
    root: { dataBlocks: root.dataBlocks, hashStart: root.hashStart, rootHash: root.root },
    machineId: randomBytes(16).toString('hex'),
    time: String(BigInt(Date.now()) * 1_000_000n),
    entropy: randomBytes(64).toString('base64'),
    memoryLimit: spec.memory,
    cpus: spec.cpus,
    ...(spec.disk === undefined ? {} : { diskLimit: spec.disk }),
    readOnly: spec.readOnly,
    // alone in its machine it may do there what root of a machine may; one that is to run only what was verified could
    // mount or open its way out of that, so it may not
    confined: spec.readOnly,
    tmpfs: spec.tmpfs,
    volumes: spec.volumes.map((v, i) => ({ serial: volumeSerials[i]!, target: v.target, readOnly: v.readOnly })),
    hosts: hostsOf(spec),
    resolvConf: spec.network?.resolvConf ?? '',
    ...(spec.network ? { network: cardOf(spec.network, mtu) } : {}),
    init: spec.init,
    ...(spec.pidsLimit ? { pidsLimit: spec.pidsLimit } : {}),
    process: {
      argv: spec.argv,
      env: spec.env,
      cwd: spec.cwd,
      user: spec.user,
      tty: spec.tty,
      stdin: spec.stdin,
      ...(spec.groupAdd ? { groupAdd: spec.groupAdd } : {}),
      ...(spec.ulimits ? { rlimits: spec.ulimits } : {}),
    },
  }
}
