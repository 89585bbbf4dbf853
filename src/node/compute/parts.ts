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
  /** Resolves with the reason when QEMU has ended. */
  ended: Promise<string>
  pause: () => Promise<void>
  resume: () => Promise<void>
  /** Ends QEMU at once and frees what only this machine used; idempotent. */
  destroy: () => Promise<void>
  /** Output of the agent's port was never read: the handshake can be short. */
  fresh: boolean
  /** The volumes' serials, in the order they were asked for. */
  volumeSerials: string[]
}

export type MachineRequest = {
  id: string
  memory: number
  cpus: number
  /** The workload's folder: what the machine writes lasts as long as the folder. */
  folder: string
  /** Host files of ext4 volumes. */
  volumes: { path: string; readOnly: boolean }[]
  /** Said when something takes long. */
  note: (line: string) => void
}

/** Where machines come from. */
export type Machines = {
  get: (request: MachineRequest) => Promise<Machine>
  /** Takes up a machine of an earlier daemon; undefined when it is gone. */
  adopt: (record: unknown, request: Omit<MachineRequest, 'note'>) => Promise<Machine | undefined>
}

export type DiskBinding = { root: string; dataBlocks: number; hashStart: number }

/** What the storage plane does for a workload. */
export type Storage = {
  image: (digest: string) => Promise<ImageConfig>
  bind: (exportId: string, digest: string) => Promise<DiskBinding>
  check: (
    exportId: string,
    command: { argv: string[]; env: string[]; cwd: string },
  ) => Promise<{ files: number; bytes: number }>
  ready: (exportId: string) => Promise<void>
}
