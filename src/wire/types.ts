/** What `zos run` asks for. Everything optional falls back to the image's config, then to Docker's default. */
export type RunRequest = {
  image: string
  name?: string
  /** Docker's Cmd: replaces the image's. */
  command: string[]
  /** Replaces the image's Entrypoint; '' clears it. */
  entrypoint?: string
  env: string[]
  workdir?: string
  user?: string
  hostname?: string
  tty: boolean
  interactive: boolean
  detach: boolean
  remove: boolean
  init: boolean
  readOnly: boolean
  /** SOURCE '': a volume of its own, without a name. SIZE in bytes: it is made so, and grown to it where it is smaller. */
  volumes: { source: string; target: string; readOnly: boolean; size?: number }[]
  /** Bytes that its writable layer may hold; absent: as many as that layer has room for. */
  disk?: number
  tmpfs: { target: string; options: string }[]
  ports: { address: string; host: number; guest: number }[]
  /** Bytes. */
  memory?: number
  cpus?: number
  restart: RestartPolicy
  labels?: Record<string, string>
  /** Every port that the image exposes gets one of this host's. */
  publishAll?: boolean
  /** -1 is unlimited. */
  ulimits?: { name: string; soft: number; hard: number }[]
  groupAdd?: string[]
  pidsLimit?: number
  /** Further lines of /etc/hosts. */
  hosts?: { name: string; address: string }[]
  stopSignal?: string
  /** Seconds between the stop signal and KILL. */
  stopTimeout?: number
  window?: { rows: number; columns: number }
  /** Over what the image says; 'none': it is not checked. */
  health?: Partial<HealthCheck> | 'none'
  /** Folders that the image declares as volumes are none: they stay in the writable layer. */
  ignoreImageVolumes?: boolean
  /** Its card on a grid's overlay; absent: it stays down. */
  network?: NetworkRequest
}

/** How a running workload is checked again and again. Times in milliseconds. */
export type HealthCheck = {
  /** A program in it that exits with 0; a TCP port that takes a connection; or `:PORT/PATH` that answers with 200 to 399. */
  probe: { argv: string[] } | { tcp: number } | { http: string }
  interval: number
  timeout: number
  /** Failures in a row that make it unhealthy. */
  retries: number
  /** So long after its start failures do not count, until the first success; and how often it is checked then. */
  startPeriod: number
  startInterval: number
}

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy'

export type NetworkRequest = {
  /** In 400::/7, as 32 hex digits. */
  address: string
  /** In the private range of its deployment, a /24, as a number. */
  ipv4: number
  /** Where packets to the Internet go; absent: it may not go there. */
  ipv4Gateway?: number
  /** A line for /etc/hosts: its address and its names. */
  hosts: string
  resolvConf: string
}

export type RestartPolicy = { name: 'no' | 'always' | 'unless-stopped' | 'on-failure'; max?: number }

export type WorkloadState = 'created' | 'running' | 'paused' | 'exited'

/** One row of `zos ps --json`. */
export type WorkloadView = {
  id: string
  name: string
  image: string
  state: WorkloadState
  /** null while it runs. */
  exitCode: number | null
  /** Why it is not running, in words; '' while it runs. */
  reason: string
  /** Its QEMU; null when there is none. */
  pid: number | null
  createdAt: string
  startedAt: string | null
  finishedAt: string | null
  restarts: number
  ports: string[]
  command: string
  labels: Record<string, string>
  /** Bytes of memory it may use. */
  memory: number
  /** null: it is not checked, or does not run. */
  health: HealthStatus | null
  /** True when all of its image is on this node, so that it runs on without hub and network; null while that is unknown. */
  selfContained?: boolean | null
}

/** One row of `zos images --json`. */
export type ImageView = { name: string; digest: string; root: string; size: number; created: string }
