import type { Stall } from '#vm'
import type { ImageConfig } from './spec.ts'

/** A microVM that waits for its start message, however it came to be. */
export type Machine = {
  pid: number
  /** Its disk at the storage plane. */
  exportId: string
  /** What a later daemon needs to find it again. */
  record: unknown
  /** Unix socket of the agent's port. */
  agentSocket: string
  /** Where its network card's frames come and go, and how large packets may be. */
  nic: string
  mtu: number
  /** Resolves with the reason when QEMU has ended. */
  ended: Promise<string>
  pause: () => Promise<void>
  resume: () => Promise<void>
  /** Calls LISTENER when the machine stands still because a disk's file on this host took no more. */
  onStall: (listener: (stall: Stall) => void) => void
  /** Ends QEMU at once and frees what only this machine used; idempotent. */
  destroy: () => Promise<void>
  /** Output of the agent's port was never read: the handshake can be short. */
  fresh: boolean
  /** The volumes' serials, in the order they were asked for. */
  volumeSerials: string[]
  /** Makes the disk of such a volume larger, whose host file is PATH; its file system stays as it is. */
  growDisk: (serial: string, path: string, size: number) => Promise<void>
}

export type MachineRequest = {
  memory: number
  cpus: number
  /** The workload's folder: what the machine writes lasts as long as the folder. */
  folder: string
  /** The image it will run: its manifest's digest. */
  digest: string
  command: Command
  readOnly: boolean
  /** Bytes its writable layer may hold, where that is said. */
  disk?: number | undefined
  /** Host files of ext4 volumes. */
  volumes: { path: string; readOnly: boolean }[]
  /** Said when something takes long. */
  note: (line: string) => void
}

export type Command = { argv: string[]; env: string[]; cwd: string }

/** Where machines come from. */
export type Machines = {
  get: (request: MachineRequest) => Promise<Machine>
  /**
   * Takes up a machine of an earlier daemon that has VOLUMES volumes; undefined when it is gone. STEP is told what is
   * waited for, in words that go before "does not answer".
   */
  adopt: (record: unknown, request: { volumes: number; step: (what: string) => void }) => Promise<Machine | undefined>
  /** Ends a machine that was not taken up, whether it answers or not, and frees what only it used. */
  end: (record: unknown) => Promise<void>
  /** Of its QEMU, whether it was taken up or not. */
  pidOf: (record: unknown) => number | null
  /** Makes machines ready in the background; call it when there is nothing better to do. */
  refill: () => void
}

export type DiskBinding = { root: string; dataBlocks: number; hashStart: number }

/** What the storage plane does for a workload. */
export type Storage = {
  image: (digest: string) => Promise<ImageConfig>
  bind: (exportId: string, digest: string) => Promise<DiskBinding>
  /** The launch check; PATHS are the files it looked at. */
  check: (exportId: string, command: Command) => Promise<{ files: number; bytes: number; paths: string[] }>
  ready: (exportId: string) => Promise<void>
}
