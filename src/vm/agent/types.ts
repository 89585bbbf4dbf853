/** What host and guest say to each other, as JSON shapes. No imports: QuickJS bundles this file too. */

export type Rlimit = {
  /** Lower case without RLIMIT_: `nofile`, `nproc`, `core`, … (setrlimit(2)). */
  name: string
  /** -1 is unlimited. */
  soft: number
  hard: number
}

export type Window = { rows: number; columns: number }

export type ProcessSpec = {
  /** argv[0] without a slash is looked up in the PATH of `env`. */
  argv: string[]
  /** `KEY=VALUE`; PATH, HOME, HOSTNAME and (with a TTY) TERM are added where absent. */
  env: string[]
  /** Absolute; '' is `/`. Made when missing for the main process, exit 126 for exec. */
  cwd: string
  /** As Docker's `-u`: '', `name`, `uid`, `user:group`; resolved with the workload's own /etc/passwd and /etc/group. */
  user: string
  /** Names or ids added to the supplementary groups. */
  groupAdd?: string[]
  /** null: pipes. */
  tty: Window | null
  /** false: /dev/null. */
  stdin: boolean
  rlimits?: Rlimit[]
}

export type NetworkSpec = {
  /** The card's address in 400::/7, as 32 hex digits. */
  address: string
  /** In a private /24, as a number; absent: no IPv4. */
  ipv4?: number
  /** Where IPv4 packets to anywhere else go; absent: nowhere. */
  ipv4Gateway?: number
  mtu: number
}

export type StartSpec = {
  hostname: string
  /** The EROFS on the disk with serial `root`: data blocks of 4096 bytes, then (from block `hashStart`) the verity tree. */
  root: { dataBlocks: number; hashStart: number; rootHash: string }
  /** 32 lower-case hex digits. */
  machineId: string
  /** Unix time in nanoseconds, decimal. */
  time: string
  /** 64 random bytes, base64. */
  entropy: string
  /** Bytes: memory.max of the workload's cgroup; 0 is no limit. */
  memoryLimit: number
  /** 0 is no limit. */
  cpus: number
  pidsLimit?: number
  /** Bytes that its writable layer may hold, counted with what that layer needs for itself; absent: all it has room for. */
  diskLimit?: number
  /** No upper layer, and every writable mount is noexec,nosuid,nodev. */
  readOnly: boolean
  /** Docker's default capabilities, /sys and parts of /proc closed, instead of all that root of a machine may do. */
  confined: boolean
  tmpfs: { target: string; options: string }[]
  /** `uid`: owner given to the volume's root when it is empty (`uid` or `uid:gid`). */
  volumes: { serial: string; target: string; readOnly: boolean; uid?: string }[]
  /** Contents of the files; '' leaves the image's. */
  hosts: string
  resolvConf: string
  /** Absent: the card stays down. */
  network?: NetworkSpec
  /** A reaper as PID 1, the process below it (Docker's `--init`). */
  init: boolean
  process: ProcessSpec
}

/** An image's tree, made before anybody says what runs in it. */
export type Preparation = {
  root: StartSpec['root']
  /** Paths to bring into memory. */
  files: string[]
  /** Most likely that of the workload; one that has another gets that. */
  memoryLimit: number
}

/** As in StartSpec. */
export type WarmUp = Pick<StartSpec, 'time' | 'entropy'>

export type ExitStatus = {
  /** Docker's: the exit code, or 128 + signal. */
  code: number
  /** `KILL`, `TERM`, …; null when it ended by itself. */
  signal: string | null
  /** The workload ran into memoryLimit and was killed whole. */
  oom: boolean
  /** In words, for `zos ps`. */
  reason: string
}

/** Where the guest stands when a host connects. */
export type AgentState = {
  version: number
  phase: 'idle' | 'running' | 'exited'
  /** The main process, as zinit counts; 0 when idle. */
  pid: number
  /** Output offset of the first byte still held; below it everything was acknowledged. */
  from: number
  /** Output offset after the last byte held. */
  to: number
  /** Bytes the main process's stdin takes now. */
  stdinCredit: number
}

export type GuestStats = {
  /** Bytes. */
  memory: number
  memoryPeak: number
  memoryLimit: number
  /** Of it page cache that can be given back (memory.stat inactive_file), as Docker subtracts it. */
  inactiveFile: number
  cpuUsec: number
  cpuUserUsec: number
  cpuSystemUsec: number
  pids: number
  ioReadBytes: number
  ioWriteBytes: number
  oomKills: number
  /** Bytes of the writable layer; 0 when there is none. */
  upperUsed: number
  upperSize: number
  /** The agent itself. */
  agentRss: number
}

export type ProcessRow = {
  /** In the workload's PID namespace. */
  pid: number
  ppid: number
  uid: number
  state: string
  /** Clock ticks of 10 ms. */
  cpuTicks: number
  rss: number
  /** Seconds since it started. */
  age: number
  command: string
}

/** One file of a copy; regular files are followed by `size` bytes. */
export type CopyEntry = {
  /** Relative, `/`-separated, no `..`; '' or '.' is the top itself. Bytes that are not UTF-8 travel as U+DC80…U+DCFF (PEP 383). */
  path: string
  type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'character' | 'block'
  /** Permission bits with setuid, setgid, sticky: 0o7777. */
  mode: number
  uid: number
  gid: number
  /** Nanoseconds since 1970, decimal. */
  mtime: string
  size: number
  /** Target of a symlink; of a hard link, a path of this copy. */
  linkname?: string
  major?: number
  minor?: number
}

export type FileStat = CopyEntry & { /** Absolute, links resolved. */ resolved: string }

/** Requests by method: what goes out, what comes back. */
export type Methods = {
  start: [StartSpec, { pid: number }]
  prepare: [Preparation, null]
  warmUp: [WarmUp, null]
  exec: [ProcessSpec, { pid: number }]
  /** Stream 0 is the main process. */
  resize: [{ stream: number } & Window, null]
  /** GROUP: to all of its process group, of a process that was run beside the main one. */
  signal: [{ stream: number; signal: string; group?: boolean }, null]
  stats: [null, GuestStats]
  processes: [null, ProcessRow[]]
  stat: [{ path: string; follow: boolean }, FileStat | null]
  dial: [{ port: number; host: '127.0.0.1' | '::1' }, null]
  copyOut: [{ path: string; follow: boolean }, null]
  copyIn: [{ path: string; keepOwner: boolean }, null]
  sync: [null, null]
  /** Bytes that the volume's file system is to fill. */
  grow: [{ serial: string; size: number }, null]
  /** Milliseconds: moved by BY, what Unix time it has. */
  clock: [{ by: number }, { time: number }]
  /** Milliseconds of the guest's own clock. */
  lease: [{ until: number | null }, { now: number }]
  powerOff: [{ graceMs: number; signal: string }, null]
}

/** What a refused request answers. */
export type AgentFailure = {
  code: string
  message: string /** Of a process that never ran: 126 or 127. */
  exitCode?: number
}
