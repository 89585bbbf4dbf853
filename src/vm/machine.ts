import { chown, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf, ZosError } from '#codec'
import { until } from '#sys'
import type { VmClass } from './args.ts'
import { isRunning, killProcess, type ProcessIdentity } from './identity.ts'
import type { Qmp } from './qmp.ts'

/** What a later daemon needs to take a VM over: plain JSON, kept by the caller. */
export type MachineRecord = ProcessIdentity & {
  id: string
  class: VmClass
  /** Holds the sockets and QEMU's own messages; removed with the VM. */
  dir: string
  uid?: number
  /** Whether it came out of a template or booted. */
  start: 'clone' | 'cold'
}

export type ExitReport = {
  /** Why it ended: the guest powered off, reset itself (a kernel panic does), QEMU died, we killed it. */
  cause: 'power-off' | 'guest-reset' | 'qemu-died' | 'killed'
  /** In words, with QEMU's last message where it has one. */
  reason: string
  /** The last lines of the guest's console, at most 8 KiB. */
  console: string
}

/** DISK: its serial; '' when an earlier daemon missed the news. */
export type Stall = { disk: string; full: boolean }

export type Machine = AsyncDisposable & {
  readonly record: MachineRecord
  readonly agentSocket: string
  /** Where the Ethernet frames of its network card come and go: a unix socket, or a file that says "tap PID NAME". */
  readonly nic: string
  readonly qmp: Qmp
  /** Settles when QEMU is gone; never rejects. */
  readonly exited: Promise<ExitReport>
  /**
   * Gives a socket to the VM's uid. QEMU reconnects to its root's socket by itself, but not to one that was made anew
   * (a storage process that restarted) by somebody else.
   */
  lend(path: string): Promise<void>
  /** Freezes and thaws the vCPUs. */
  pause(): Promise<void>
  resume(): Promise<void>
  /**
   * Calls LISTENER whenever QEMU stops the VM because a disk's file took no more (also when it did so before anybody
   * listened). Nothing is lost: resume() writes again.
   */
  onStall(listener: (stall: Stall) => void): void
  /** The last lines of the guest's console; '' when QEMU does not answer. */
  console(): Promise<string>
  /** Ends QEMU at once and removes its folder; nothing of the guest is flushed. */
  kill(): Promise<void>
  /** Lets go of the VM, which runs on: a later daemon adopts it. */
  release(): Promise<void>
}

export const agentSocketOf = (dir: string): string => join(dir, 'agent')
export const nicOf = (dir: string): string => join(dir, 'nic')
export const qmpSocketOf = (dir: string): string => join(dir, 'qmp')
export const logOf = (dir: string): string => join(dir, 'qemu.log')

/** Holds a panic with its stack. */
const CONSOLE_TAIL = 8192

/** Watches over a running QEMU through its control socket. GONE is called once, when it has ended. */
export function watchMachine(record: MachineRecord, qmp: Qmp, gone: () => void): Machine {
  let cause: ExitReport['cause'] | undefined
  let lastConsole = ''
  let released = false
  const readConsole = async () => {
    const text = await qmp.ask<string>(
      'ringbuf-read',
      { device: 'console', size: 65536, format: 'utf8' },
      { timeout: 2000 },
    )
    // reading empties the ring, so what was read is kept
    lastConsole = (lastConsole + text).slice(-CONSOLE_TAIL)
    return lastConsole
  }
  const end = async () => {
    await readConsole().catch(() => {})
    await qmp.ask('quit', {}, { timeout: 2000 }).catch(() => {})
    await ended(record)
  }
  let stalled: Stall | undefined
  const listeners: ((stall: Stall) => void)[] = []
  const stall = (why: Stall) => {
    stalled = why
    for (const listener of listeners) listener(why)
  }
  const stopped = (reason: unknown) => {
    cause ??= reason === 'guest-reset' || reason === 'guest-panic' ? 'guest-reset' : 'power-off'
    void end()
  }
  // with shutdown=pause a guest that ended waits for us, so that its last words can be read
  qmp.listen(({ event, data }) => {
    if (event === 'SHUTDOWN' && data.guest === true) stopped(data.reason)
    if (event === 'BLOCK_IO_ERROR' && data.action === 'stop')
      stall({ disk: String(data['node-name'] ?? ''), full: data.nospace === true })
  })
  // it may have ended while nobody was watching
  void qmp.ask<{ status: string }>('query-status').then(
    ({ status }) => {
      if (status === 'shutdown') stopped('guest-shutdown')
      if (status === 'io-error' && !stalled) stall({ disk: '', full: true })
    },
    () => {},
  )
  const exited = (async (): Promise<ExitReport> => {
    await qmp.closed
    if (released) return new Promise<never>(() => {})
    await ended(record)
    const said = (await readFile(logOf(record.dir), 'utf8').catch(() => '')).trim().split('\n').at(-1) ?? ''
    await rm(record.dir, { recursive: true, force: true })
    gone()
    return { cause: cause ?? 'qemu-died', reason: describe(cause, said, lastConsole), console: lastConsole }
  })()
  const kill = async () => {
    if (isRunning(record)) cause ??= 'killed'
    killProcess(record)
    await exited
  }
  return {
    record,
    agentSocket: agentSocketOf(record.dir),
    nic: nicOf(record.dir),
    qmp,
    exited,
    lend: async (path) => {
      if (record.uid !== undefined) await chown(path, record.uid, record.uid)
    },
    pause: async () => void (await qmp.ask('stop')),
    async resume() {
      stalled = undefined
      await qmp.ask('cont')
    },
    onStall(listener) {
      listeners.push(listener)
      if (stalled) listener(stalled)
    },
    console: () => readConsole().catch(() => lastConsole),
    kill,
    async release() {
      released = true
      await qmp[Symbol.asyncDispose]()
    },
    [Symbol.asyncDispose]: kill,
  }
}

/** Waits for a QEMU whose control socket closed; one that lingers is killed. */
async function ended(record: MachineRecord): Promise<void> {
  const over = () => !isRunning(record)
  try {
    await until(`QEMU ${record.pid} to end`, 3000, over, 2)
  } catch {
    killProcess(record)
    await until(`killed QEMU ${record.pid} to end`, 10_000, over, 5).catch((error) => {
      throw new ZosError(reasonOf(error), { code: 'qemu-stuck', kind: 'node' })
    })
  }
}

function describe(cause: ExitReport['cause'] | undefined, said: string, console: string): string {
  if (cause === 'power-off') return 'the guest powered off'
  if (cause === 'guest-reset') {
    const panic = /Kernel panic - not syncing: ([^\r\n]*)/.exec(console)?.[1]
    return panic ? `the guest's kernel panicked: ${panic}` : "the guest's kernel reset itself"
  }
  if (cause === 'killed') return 'killed'
  return said ? `QEMU ended: ${said}` : 'QEMU ended without a word (killed from outside?)'
}
