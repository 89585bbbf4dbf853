import { ZosError } from '#codec'
import { DEFAULT_LIMIT_MIB, DISK_SIZE, signalNumber } from '#vm'
import type { HealthCheck, NetworkRequest, RunRequest } from '#wire'
import { type ImageHealth, resolveHealth } from './health.ts'
import { folder, volumesOf, type WorkloadVolume } from './image-volumes.ts'

/** The part of an OCI image config that says how to start it. Source: OCI image-spec, config.md. */
export type ImageConfig = {
  architecture?: string
  config?: {
    Entrypoint?: string[] | null
    Cmd?: string[] | null
    Env?: string[] | null
    WorkingDir?: string
    User?: string
    StopSignal?: string
    Labels?: Record<string, string> | null
    ExposedPorts?: Record<string, unknown> | null
    Volumes?: Record<string, unknown> | null
    Healthcheck?: ImageHealth
  }
}

/** What a workload is, fixed when it is created; everything needed to start it again. */
export type WorkloadSpec = {
  id: string
  name: string
  /** As the person named it. */
  image: string
  /** The manifest's digest: what runs, whatever the tag says later. */
  digest: string
  createdAt: string
  argv: string[]
  env: string[]
  cwd: string
  user: string
  hostname: string
  tty: { rows: number; columns: number } | null
  stdin: boolean
  remove: boolean
  init: boolean
  readOnly: boolean
  volumes: WorkloadVolume[]
  tmpfs: RunRequest['tmpfs']
  ports: RunRequest['ports']
  memory: number
  /** Bytes that its writable layer may hold. */
  disk?: number
  cpus: number
  restart: RunRequest['restart']
  ulimits?: RunRequest['ulimits']
  groupAdd?: string[]
  pidsLimit?: number
  hosts?: RunRequest['hosts']
  /** The image's and its own. */
  labels?: Record<string, string>
  stopSignal: string
  stopTimeout: number
  health?: HealthCheck
  network?: NetworkRequest
  /** What only `inspect` shows again: how much of argv is the entrypoint, and what the image exposes and has as volumes. */
  declared?: { entrypoint: number; ports: string[]; volumes: string[] }
}

/** Bytes a workload may use when nothing is said. */
const DEFAULT_MEMORY = DEFAULT_LIMIT_MIB << 20
/** Docker's, too. */
const LEAST_MEMORY = 6 << 20
/** Docker's: seconds between the stop signal and KILL. */
const DEFAULT_STOP_TIMEOUT = 10

/** Later entries win, as with Docker's `-e` over the image's Env. */
function mergeEnv(...lists: readonly (readonly string[])[]): string[] {
  const merged = new Map<string, string>()
  for (const entry of lists.flat()) {
    const at = entry.indexOf('=')
    merged.set(at < 0 ? entry : entry.slice(0, at), at < 0 ? '' : entry.slice(at + 1))
  }
  return [...merged].map(([k, v]) => `${k}=${v}`)
}

/** argv by Docker's rule: an --entrypoint clears the image's Cmd. */
function argvOf(
  request: RunRequest,
  config: NonNullable<ImageConfig['config']>,
): { entry: string[]; command: string[] } {
  const replaced = request.entrypoint !== undefined
  const entry = replaced ? (request.entrypoint === '' ? [] : [request.entrypoint!]) : (config.Entrypoint ?? [])
  const command = request.command.length > 0 ? request.command : replaced ? [] : (config.Cmd ?? [])
  return { entry, command }
}

/** TCP ports that the image exposes and TAKEN does not hold, each to be given one of this host's. */
function exposed(config: NonNullable<ImageConfig['config']>, taken: RunRequest['ports']): RunRequest['ports'] {
  const guests = Object.keys(config.ExposedPorts ?? {}).flatMap((port) => /^(\d+)(\/tcp)?$/.exec(port)?.[1] ?? [])
  return guests
    .map(Number)
    .filter((guest) => !taken.some((p) => p.guest === guest))
    .map((guest) => ({ address: '127.0.0.1', host: 0, guest }))
}

/** Podman's rule for `--systemd=true`: to these SIGTERM means "start yourself again", and that signal "shut down". */
const isSystemd = (program: string): boolean =>
  /^\/(usr\/(local\/)?)?sbin\/init$/.test(program) || /(^|\/)systemd$/.test(program)

/** As Docker: an image's that says nothing, or no signal there is, counts as none. */
const signalOf = (named: string | undefined): string | undefined =>
  named !== undefined && signalNumber(named) !== 0 ? named : undefined

/** Joins what was asked with what the image says. */
export function resolveSpec(
  request: RunRequest,
  image: { digest: string; config: ImageConfig },
  identity: { id: string; name: string; createdAt: string },
): WorkloadSpec {
  const config = image.config.config ?? {}
  const { entry, command } = argvOf(request, config)
  const argv = [...entry, ...command]
  if (argv.length === 0) {
    throw new ZosError(`Run "${request.image}": no command: the image names none, so name one after the image`, {
      code: 'no-command',
    })
  }
  const memory = request.memory ?? DEFAULT_MEMORY
  if (memory < LEAST_MEMORY) {
    throw new ZosError(
      `Run "${request.image}": ${memory} bytes are too little for any program; at least 6m are needed`,
      {
        code: 'bad-memory',
      },
    )
  }
  if (request.disk !== undefined && request.disk > DISK_SIZE) {
    throw new ZosError(`Run "${request.image}": a disk of ${request.disk} bytes; a machine's hold ${DISK_SIZE}`, {
      code: 'bad-disk',
    })
  }
  if (request.stopSignal !== undefined && signalNumber(request.stopSignal) === 0) {
    throw new ZosError(`Stop "${request.image}" with "${request.stopSignal}": there is no such signal`, {
      code: 'bad-signal',
    })
  }
  const health = resolveHealth(request.health, config.Healthcheck)
  return {
    ...identity,
    image: request.image,
    digest: image.digest,
    argv,
    env: mergeEnv(config.Env ?? [], request.env),
    cwd: request.workdir ?? (config.WorkingDir || '/'),
    // as with Docker, an empty --user is none: never root where the image says otherwise
    user: request.user || config.User || '',
    hostname: request.hostname ?? identity.id.slice(0, 12),
    tty: request.tty ? (request.window ?? { rows: 24, columns: 80 }) : null,
    stdin: request.interactive,
    remove: request.remove,
    init: request.init,
    readOnly: request.readOnly,
    volumes: volumesOf(request, config.Volumes),
    tmpfs: request.tmpfs.map((t) => ({ ...t, target: folder(t.target) })),
    ports: request.publishAll ? [...request.ports, ...exposed(config, request.ports)] : request.ports,
    memory,
    cpus: request.cpus ?? 1,
    restart: request.restart,
    labels: { ...config.Labels, ...request.labels },
    stopSignal: request.stopSignal ?? signalOf(config.StopSignal) ?? (isSystemd(argv[0]!) ? 'SIGRTMIN+3' : 'SIGTERM'),
    stopTimeout: request.stopTimeout ?? DEFAULT_STOP_TIMEOUT,
    ...(request.ulimits ? { ulimits: request.ulimits } : {}),
    ...(request.groupAdd ? { groupAdd: request.groupAdd } : {}),
    ...(request.disk === undefined ? {} : { disk: request.disk }),
    ...(request.pidsLimit ? { pidsLimit: request.pidsLimit } : {}),
    ...(request.hosts ? { hosts: request.hosts } : {}),
    ...(health ? { health } : {}),
    ...(request.network ? { network: request.network } : {}),
    declared: {
      entrypoint: entry.length,
      ports: Object.keys(config.ExposedPorts ?? {}),
      volumes: Object.keys(config.Volumes ?? {}),
    },
  }
}
