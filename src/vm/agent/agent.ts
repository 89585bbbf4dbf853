import type { Duplex, Readable, Writable } from 'node:stream'
import type {
  AgentState,
  CopyEntry,
  ExitStatus,
  FileStat,
  GuestStats,
  Preparation,
  ProcessRow,
  ProcessSpec,
  StartSpec,
  WarmUp,
  Window,
} from './types.ts'

/** A piece of the main process's output. */
export type Output = {
  channel: 'stdout' | 'stderr'
  /** Of the first byte; counts the bytes of both channels in the order they were read. */
  offset: number
  data: Buffer
}

export type ConnectOptions = {
  signal?: AbortSignal
  /** Called in order, not before connectAgent has returned. A promise holds back the next piece. */
  onOutput?: (output: Output) => void | Promise<void>
  /** Output offset up to which the caller holds everything durably. Default 0. */
  resumeFrom?: number
  /** Nobody has written to this port since the guest booted (a clone just restored): leaves out the filler. */
  fresh?: boolean
  /** Milliseconds to connect and shake hands. Default 30 000 (a cold boot). */
  timeout?: number
}

export type ExecSession = {
  /** As zinit counts. */
  pid: number
  /** Ending it half-closes the process's stdin. */
  stdin: Writable
  /** With a TTY everything comes here. */
  stdout: Readable
  stderr: Readable
  resize(window: Window): Promise<void>
  /** `TERM`, `SIGTERM` or a number as text; GROUP: also to what it started, unless that made itself a group of its own. */
  signal(name: string, options?: { group?: boolean }): Promise<void>
  /** Settles after the last byte of both outputs was handed to the streams. */
  exit: Promise<ExitStatus>
}

export type CopyItem = {
  entry: CopyEntry /** Only for `file`; must be read before the next item is asked for. */
  content?: AsyncIterable<Uint8Array>
}

/**
 * The line to the PID 1 of one microVM. Every promise rejects with `agent-gone` when the line breaks; the guest and its
 * main process go on, and a new connectAgent with `resumeFrom` takes over.
 */
export type Agent = AsyncDisposable & {
  /** As of the handshake. */
  readonly state: AgentState
  /** In a VM that becomes a template of one image: see Preparation. */
  prepare(what: Preparation): Promise<void>
  /** Before start, once, while there is time: lets the emulator translate what a start runs through. Needless under KVM. */
  warmUp(now: WarmUp): Promise<void>
  /** Once per VM. Rejects with code `exec-failed` and details.exitCode 126 or 127 when the program cannot be run. */
  start(spec: StartSpec): Promise<{ pid: number }>
  /** Everything below OFFSET is durable: the guest forgets it, and the program may write on. */
  ack(offset: number): void
  /** After all output was handed to onOutput. */
  readonly exited: Promise<ExitStatus>
  /** Resolves with the reason when the line is gone; never rejects. */
  readonly closed: Promise<string>
  /** The main process's; end() half-closes it. */
  readonly stdin: Writable
  resize(window: Window): Promise<void>
  signal(name: string): Promise<void>
  exec(spec: ProcessSpec): Promise<ExecSession>
  stats(): Promise<GuestStats>
  processes(): Promise<ProcessRow[]>
  /** null: there is no such file. */
  stat(path: string, options?: { follow?: boolean }): Promise<FileStat | null>
  /** Writes the items below the directory PATH (which must exist). */
  copyIn(
    path: string,
    items: AsyncIterable<CopyItem> | Iterable<CopyItem>,
    options?: { keepOwner?: boolean; signal?: AbortSignal },
  ): Promise<void>
  /** PATH itself first, as ''; then what is below it, parents before children. */
  copyOut(path: string, options?: { follow?: boolean; signal?: AbortSignal }): AsyncIterable<CopyItem>
  /** TCP to a port of the guest's own loopback. */
  dial(port: number, options?: { host?: '127.0.0.1' | '::1'; signal?: AbortSignal }): Promise<Duplex>
  /** File systems of the workload are flushed to their disks. */
  sync(): Promise<void>
  /** Makes the file system of the volume SERIAL fill SIZE bytes of its disk, while it is in use. */
  grow(serial: string, size: number): Promise<void>
  /** Moves the guest's clock by BY milliseconds, 0 not at all; gives its Unix time in milliseconds. */
  clock(by: number): Promise<{ time: number }>
  /**
   * The guest ends the workload at UNTIL, whatever becomes of the host; null asks for its clock alone. Milliseconds of the
   * guest's clock, which it answers with. Before `start`, and again whenever the lease grows longer.
   */
  lease(until: number | null): Promise<{ now: number }>
  /** SIGNAL (default TERM) to the workload, KILL after GRACEMS, unmount, power off. Resolves when the line is closed by QEMU's end. */
  powerOff(graceMs: number, options?: { signal?: string }): Promise<void>
}
