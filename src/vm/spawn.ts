import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, openSync } from 'node:fs'
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf, ZosError } from '#codec'
import { sleep, until } from '#sys'
import { type CardLink, type Disk, type QemuInput, qemuArgs, type VmClass } from './args.ts'
import type { VmHost } from './host.ts'
import { identify } from './identity.ts'
import { agentSocketOf, logOf, type Machine, type MachineRecord, nicOf, qmpSocketOf, watchMachine } from './machine.ts'
import { connectQmp, type Qmp } from './qmp.ts'
import { restore } from './restore.ts'
import { loadingFrom } from './spare.ts'

/** A disk as the caller names it: files by path, opened here and inherited, so that QEMU needs no right to their folder. */
export type DiskSource =
  | { kind: 'placeholder' }
  | { kind: 'nbd'; socket: string }
  | { kind: 'file'; path: string; durable: boolean }

/** A disk nobody has claimed: reads as zeroes. */
export const PLACEHOLDER: DiskSource = { kind: 'placeholder' }

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
  /** Milliseconds for QEMU to open its control socket. */
  deadline?: number
}

const START_DEADLINE = 10_000
/** One heap for all of QEMU's threads, which hardly ever allocate at once: 3 MiB less of each machine. */
const GLIBC_TUNABLES = 'glibc.malloc.arena_max=1'
const SOCKET_PATH_LIMIT = 107 // sun_path of unix(7), without its final 0

/** Starts a QEMU of its own session and waits until it is reachable, with its saved state loaded. */
export async function spawnQemu(host: VmHost, spec: MachineSpec, how: StartHow): Promise<Machine> {
  const dir = join(host.vmDir, spec.id)
  const sockets = { qmp: qmpSocketOf(dir), agent: agentSocketOf(dir) }
  const card: CardLink =
    host.isolation.cards === 'tap'
      ? { kind: 'tap', name: `zt${randomBytes(6).toString('hex')}` }
      : { kind: 'stream', path: nicOf(dir) }
  if (!/^[A-Za-z0-9_-]{1,40}$/.test(spec.id) || sockets.agent.length > SOCKET_PATH_LIMIT)
    throw new ZosError(`Start VM "${spec.id}": its id or run folder is too long for a socket's name`, {
      code: 'bad-vm-id',
    })
  await mkdir(dir, { mode: 0o711 }).catch((cause) => {
    throw new ZosError(`Start VM "${spec.id}": ${reasonOf(cause)}`, { code: 'vm-exists', kind: 'node', cause })
  })
  const uid = how.tied ? undefined : host.isolation.takeUid()
  /** Descriptors the child gets as 1, 2, 3, …; closed here once it has them. */
  const passed: number[] = []
  const pass = (fd: number) => passed.push(fd)
  let child: ChildProcess | undefined
  try {
    pass(openSync(logOf(dir), 'a'))
    pass(openSync(logOf(dir), 'a'))
    const disk = (source: DiskSource): Disk =>
      source.kind === 'file' ? { ...source, fd: pass(openSync(source.path, 'r+')) } : source
    const input: QemuInput = {
      qemu: host.qemu,
      accel: host.accel,
      class: spec.class,
      name: `zos-${spec.id}`,
      sockets,
      card,
      disks: {
        root: disk(spec.root),
        upper: disk(spec.upper),
        modules: { kind: 'file', fd: pass(openSync(host.initramfs.modulesDisk, 'r')), durable: false },
        volumes: (spec.volumes ?? []).map(disk),
      },
    }
    if (how.memory) input.memory = how.memory
    if (how.boot) input.boot = how.boot
    if (how.state) input.incoming = { paused: how.state.paused }
    const state = how.state && pass(openSync(how.state.path, 'r'))
    if (uid !== undefined) {
      input.runAs = uid
      // it reconnects by itself after it gave up root
      if (spec.root.kind === 'nbd') await chown(spec.root.socket, uid, uid)
    }
    const tie = how.tied ? ['setpriv', '--pdeathsig', 'KILL', '--'] : []
    const net = host.isolation.net
    const words = [...tie, ...host.isolation.prefix(passed.length + 1), host.qemu.path, ...qemuArgs(input)]
    child = spawn(words[0]!, words.slice(1), {
      stdio: ['ignore', ...passed, ...(net === undefined ? [] : [net])],
      detached: true,
      cwd: dir,
      // QEMU reads no environment, and ours may hold secrets
      env: { PATH: process.env.PATH ?? '', GLIBC_TUNABLES, ...(host.spare && loadingFrom(host.spare)) },
    })
    const qmp = await reach(child, sockets.qmp, dir, how.deadline ?? START_DEADLINE)
    child.unref()
    // made on a thread; the guest must not send before
    if (card.kind === 'stream') await until("the network card's socket", START_DEADLINE, () => existsSync(card.path), 1)
    else await writeFile(nicOf(dir), `tap ${child.pid} ${card.name}\n`)
    if (state !== undefined) await restore(qmp, state)
    const identity = identify(child.pid!)
    if (!identity) throw await died(dir)
    const record: MachineRecord = { id: spec.id, class: spec.class, ...identity, dir, start: how.start }
    if (uid !== undefined) record.uid = uid
    return watchMachine(record, qmp, () => host.isolation.giveUid(uid))
  } catch (error) {
    child?.kill('SIGKILL')
    host.isolation.giveUid(uid)
    await rm(dir, { recursive: true, force: true })
    throw error
  } finally {
    for (const fd of passed) closeSync(fd)
  }
}

async function reach(child: ChildProcess, socket: string, dir: string, ms: number): Promise<Qmp> {
  let gone: Error | undefined
  child.once('error', (error) => {
    gone = error
  })
  child.once('exit', (code, signal) => {
    gone ??= new Error(`exit ${signal ?? code}`)
  })
  try {
    return await connectQmp(socket, ms, () => gone !== undefined)
  } catch (error) {
    // a socket that closed and the exit that closed it are told in either order
    await sleep(50)
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
