import { ZosError } from '#codec'
import type { HealthCheck } from '#wire'
import type { ImageConfig, WorkloadSpec } from '../compute/spec.ts'
import type { Volumes } from '../compute/volumes.ts'
import { boundPorts, logPath, type Workload } from '../compute/workload.ts'
import type { Images } from './images.ts'

/** Go's zero time, which scripts know to mean "not yet". */
const NEVER = '0001-01-01T00:00:00Z'

function portsOf(ports: WorkloadSpec['ports']): Record<string, { HostIp: string; HostPort: string }[]> {
  const byGuest = Map.groupBy(ports, ({ guest }) => `${guest}/tcp`)
  const bindings = (same: WorkloadSpec['ports']) =>
    same.map(({ address, host }) => ({ HostIp: address, HostPort: String(host) }))
  return Object.fromEntries([...byGuest].map(([guest, same]) => [guest, bindings(same)]))
}

/** In Docker's words: times in nanoseconds. A probe that Docker does not have is below `Zos`. */
function healthcheckOf({ probe, interval, timeout, retries, startPeriod, startInterval }: HealthCheck) {
  const times = { Interval: interval, Timeout: timeout, StartPeriod: startPeriod, StartInterval: startInterval }
  const nanoseconds = Object.entries(times).map(([name, ms]) => [name, Math.round(ms * 1e6)])
  const what = 'argv' in probe ? { Test: ['CMD', ...probe.argv] } : { Test: ['CMD'], Zos: probe }
  return { ...what, ...Object.fromEntries(nanoseconds), Retries: retries }
}

const keyed = (names: string[]): Record<string, object> => Object.fromEntries(names.map((name) => [name, {}]))

/** What the image said or a flag replaced; of a workload that was made before this was kept, what can be told. */
export function declaredOf({ argv, ports, volumes, declared }: WorkloadSpec) {
  const { entrypoint, ports: exposed, volumes: folders } = declared ?? { entrypoint: 0, ports: [], volumes: [] }
  const own = volumes.filter((v) => v.anonymous).map((v) => v.target)
  const named = exposed.map((port) => (port.includes('/') ? port : `${port}/tcp`))
  return {
    Entrypoint: entrypoint > 0 ? argv.slice(0, entrypoint) : null,
    Cmd: entrypoint < argv.length ? argv.slice(entrypoint) : null,
    ExposedPorts: keyed([...named, ...ports.map(({ guest }) => `${guest}/tcp`)]),
    Volumes: keyed([...folders, ...own]),
  }
}

/** A workload in the words of Docker's `inspect`; what Docker has no word for is below `Zos`. */
export function inspectWorkload(workload: Workload) {
  const { spec, status, machine, health } = workload
  const { state } = status
  return {
    Id: spec.id,
    Created: spec.createdAt,
    Path: spec.argv[0]!,
    Args: spec.argv.slice(1),
    State: {
      Status: state,
      Running: state === 'running' || state === 'paused',
      Paused: state === 'paused',
      OOMKilled: status.oom,
      Pid: machine?.pid ?? 0,
      ExitCode: status.exitCode ?? 0,
      Error: state === 'exited' && status.exitCode !== 0 ? status.reason : '',
      StartedAt: status.startedAt ?? NEVER,
      FinishedAt: status.finishedAt ?? NEVER,
      ...(spec.health
        ? { Health: { Status: health.status, FailingStreak: health.failingStreak, Log: health.log } }
        : {}),
    },
    Image: `sha256:${spec.digest}`,
    LogPath: logPath(workload),
    Name: `/${spec.name}`,
    RestartCount: status.restarts,
    HostConfig: {
      AutoRemove: spec.remove,
      Init: spec.init,
      Memory: spec.memory,
      NanoCpus: Math.round(spec.cpus * 1e9),
      PortBindings: portsOf(spec.ports),
      ReadonlyRootfs: spec.readOnly,
      RestartPolicy: { Name: spec.restart.name, MaximumRetryCount: spec.restart.max ?? 0 },
      Tmpfs: Object.fromEntries(spec.tmpfs.map((t) => [t.target, t.options])),
    },
    Mounts: spec.volumes.map((v) => ({ Type: 'volume', Name: v.source, Destination: v.target, RW: !v.readOnly })),
    Config: {
      Hostname: spec.hostname,
      User: spec.user,
      Tty: spec.tty !== null,
      OpenStdin: spec.stdin,
      Env: spec.env,
      ...declaredOf(spec),
      Image: spec.image,
      WorkingDir: spec.cwd,
      Labels: spec.labels ?? {},
      StopSignal: spec.stopSignal,
      StopTimeout: spec.stopTimeout,
      ...(spec.health ? { Healthcheck: healthcheckOf(spec.health) } : {}),
    },
    NetworkSettings: { Ports: portsOf(state === 'exited' ? [] : boundPorts(workload)) },
    Zos: { Reason: status.reason, Digest: spec.digest, ByHand: status.byHand },
  }
}

/** A published image, by name or by its digest (or 12 digits of it at least), as Docker's `inspect` has it. */
export async function inspectImage(images: Images, ref: string) {
  const digest = ref.replace(/^sha256:/, '')
  const same = (await images.list()).filter(
    (i) => i.name === ref || (/^[0-9a-f]{12,64}$/.test(digest) && i.digest.startsWith(digest)),
  )
  const found = same.find((i) => i.name === ref) ?? same[0]
  if (!found) {
    throw new ZosError(`Find image "${ref}": nothing of that name or digest was published; "zos images" lists them`, {
      code: 'unknown-image',
    })
  }
  const config: ImageConfig & { os?: string; rootfs?: { diff_ids?: string[] } } = (await images.resolve(found.name))
    .config
  return {
    Id: `sha256:${found.digest}`,
    RepoTags: same.filter((i) => i.digest === found.digest).map((i) => i.name),
    Created: found.created,
    Architecture: config.architecture ?? '',
    Os: config.os ?? 'linux',
    Size: found.size,
    Config: config.config ?? {},
    RootFS: { Type: 'layers', Layers: config.rootfs?.diff_ids ?? [] },
    Zos: { Digest: found.digest, Root: found.root },
  }
}

/** A volume as Docker's `inspect` has it; its place is the file of its file system, which machines alone mount. */
export function inspectVolume(volumes: Volumes, name: string) {
  const { path, size, used, created, workload } = volumes.find(name)
  return {
    CreatedAt: created,
    Driver: 'local',
    Labels: null,
    Mountpoint: path,
    Name: name,
    Options: null,
    Scope: 'local',
    Zos: { Size: size, OnDisk: used, UsedBy: workload },
  }
}
