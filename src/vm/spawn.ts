import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { chown, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import { type Disk, type QemuInput, qemuArgs, type VmClass } from './args.ts'
import type { VmHost } from './host.ts'
import { identify } from './identity.ts'
import { agentSocketOf, logOf, type Machine, type MachineRecord, qmpSocketOf, watchMachine } from './machine.ts'
import { connectQmp, type Qmp } from './qmp.ts'

/** A disk as the caller names it: files by path, opened here and inherited, so that QEMU needs no right to their folder. */
export type DiskSource =
  | { kind: 'placeholder' }
  | { kind: 'nbd'; socket: string }
  | { kind: 'file'; path: string; durable: boolean }

export type MachineSpec = {
  /** Unique among the VMs of the run folder, at most 40 of [A-Za-z0-9_-]. */
  id: string
  class: VmClass
  root: DiskSource
  upper: DiskSource
  /** Serial `vol0` is the first, at most VOLUME_SLOTS. */
  volumes?: readonly DiskSource[]
}

/** What differs between booting, making a template and cloning one. */
export type StartHow = {
  start: MachineRecord['start']
  memory?: QemuInput['memory']
  boot?: QemuInput['boot']
  /** Device state to start from. */
  state?: { path: string; paused: boolean }
  /** It may not outlive this process: templates in the making and probes. */
  tied?: boolean
}

const SOCKET_PATH_LIMIT = 107 // sun_path of unix(7), without its final 0

/** Starts a QEMU of its own session and waits for its control socket. */
export async function spawnQemu(host: VmHost, spec: MachineSpec, how: StartHow): Promise<Machine> {
  const dir = join(host.vmDir, spec.id)
  const sockets = { qmp: qmpSocketOf(dir), agent: agentSocketOf(dir) }
  if (!/^[A-Za-z0-9_-]{1,40}$/.test(spec.id) || sockets.agent.length > SOCKET_PATH_LIMIT)
    throw new ZosError(`Start VM "${spec.id}": its id or run folder is too long for a socket's name`, {
      code: 'bad-vm-id',
    })
  await mkdir(dir, { mode: 0o711 }).catch((cause) => {
    throw new ZosError(`Start VM "${spec.id}": ${reasonOf(cause)}`, { code: 'vm-exists', kind: 'node', cause })
  })
  const uid = how.tied ? undefined : host.isolation.takeUid()
  const opened: number[] = []
  const inherit = (path: string, flags: string) => {
    opened.push(openSync(path, flags))
    return opened.length + 2 // standard streams come first in the child
  }
  try {
    const disk = (source: DiskSource): Disk =>
      source.kind === 'file' ? { kind: 'file', fd: inherit(source.path, 'r+'), durable: source.durable } : source
    const log = openSync(logOf(dir), 'a')
    const input: QemuInput = {
      qemu: host.qemu,
      accel: host.accel,
      class: spec.class,
      name: `zos-${spec.id}`,
      sockets,
      disks: { root: disk(spec.root), upper: disk(spec.upper), volumes: (spec.volumes ?? []).map(disk) },
    }
    if (how.memory) input.memory = how.memory
    if (how.boot) input.boot = how.boot
    if (how.state) input.incoming = { paused: how.state.paused }
    const state = how.state ? inherit(how.state.path, 'r') : undefined
    if (uid !== undefined) {
      input.runAs = uid
      // it reconnects by itself after it gave up root
      if (spec.root.kind === 'nbd') await chown(spec.root.socket, uid, uid)
    }
    const { net } = host.isolation
    const words = [...host.isolation.prefix(opened.length + 3), host.qemu.path, ...qemuArgs(input)]
    if (how.tied) words.unshift('setpriv', '--pdeathsig', 'KILL', '--')
    const stdio = ['ignore' as const, log, log, ...opened, ...(net === undefined ? [] : [net])]
    // no environment: QEMU reads none, and ours may hold secrets
    const child = spawn(words[0]!, words.slice(1), { stdio, detached: true, env: { PATH: process.env.PATH ?? '' } })
    closeSync(log)
    const qmp = await reach(child, sockets.qmp, dir)
    child.unref()
    if (state !== undefined) await restore(qmp, state)
    const identity = identify(child.pid!)
    if (!identity) throw await died(dir)
    const record: MachineRecord = { id: spec.id, class: spec.class, ...identity, dir, start: how.start }
    if (uid !== undefined) record.uid = uid
    return watchMachine(record, qmp, () => host.isolation.giveUid(uid))
  } catch (error) {
    host.isolation.giveUid(uid)
    await rm(dir, { recursive: true, force: true })
    throw error
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

/** Loads device state from an inherited descriptor; RAM is the mapped file. */
async function restore(qmp: Qmp, fd: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = qmp.listen(({ event, data }) => {
    if (event !== 'MIGRATION') return
    if (data.status === 'completed') resolve()
    if (data.status === 'failed') reject(new Error('it refused the saved state'))
  })
  const late = setTimeout(() => reject(new Error('the saved state was not loaded within 20 s')), 20_000)
  try {
    const gone = qmp.closed.then(() => Promise.reject(new Error('it ended while loading the saved state')))
    const asked = [setCapabilities(qmp), qmp.ask('migrate-incoming', { uri: `fd:${fd}` })]
    await Promise.race([Promise.all([...asked, promise]), gone])
  } finally {
    clearTimeout(late)
    stop()
  }
}

/** RAM that is a shared file stays out of the device state; `events` tell when the state is in. */
export async function setCapabilities(qmp: Qmp): Promise<void> {
  const capabilities = ['x-ignore-shared', 'events'].map((capability) => ({ capability, state: true }))
  await qmp.ask('migrate-set-capabilities', { capabilities })
}

async function reach(child: ChildProcess, socket: string, dir: string): Promise<Qmp> {
  let gone: Error | undefined
  child.once('error', (error) => {
    gone = error
  })
  child.once('exit', (code, signal) => {
    gone ??= new Error(`exit ${signal ?? code}`)
  })
  try {
    return await connectQmp(socket, 10_000, () => gone !== undefined)
  } catch (error) {
    // a socket that closed and the exit that closed it are told in either order
    await sleep(50)
    child.kill('SIGKILL')
    throw await died(dir, gone ?? error)
  }
}

/** What to throw for a QEMU that did not come up: its own last words say most. */
async function died(dir: string, cause?: unknown): Promise<ZosError> {
  const log = (await readFile(logOf(dir), 'utf8').catch(() => '')).trim()
  const said = log.split('\n').at(-1) || reasonOf(cause ?? 'it said nothing')
  return new ZosError(`Start QEMU: ${said}`, {
    code: 'qemu-failed',
    kind: 'node',
    details: { log: log.slice(-4000) },
    cause,
  })
}
