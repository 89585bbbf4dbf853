import { ZosError } from '#codec'
import { DISK_MIB, LEAST_VOLUME_MIB, type SlotSpec, type Workload } from '#contract'
import type { HealthCheck, RestartPolicy, RunRequest } from '#wire'
import { networkOf } from './cards.ts'
import { volumeName } from './names.ts'

function restartOf(text: string): RestartPolicy {
  const [name = '', max] = text.split(':')
  return max === undefined
    ? { name: name as RestartPolicy['name'] }
    : { name: name as RestartPolicy['name'], max: Number(max) }
}

/** What the spec says of its checks, as the compute plane takes it; undefined: what the image says holds. */
function healthOf(h: Workload['health']): Partial<HealthCheck> | undefined {
  if (!h) return undefined
  const probe = h.command
    ? { argv: h.command.length === 1 ? ['/bin/sh', '-c', h.command[0]!] : h.command }
    : h.tcp !== undefined
      ? { tcp: h.tcp }
      : { http: h.http! }
  const times = { interval: h.interval * 1000, timeout: h.timeout * 1000, retries: h.retries }
  return { probe, ...times, ...(h.start === undefined ? {} : { startPeriod: h.start * 1000 }) }
}

/** What the compute plane is asked for. A slot's spec was written by a client of any version: only what it needs is read. */
export function requestOf(
  deployment: string,
  slot: number,
  spec: SlotSpec,
  wiped?: number,
): { digest: string; request: RunRequest } {
  const w = spec.workload as Workload
  if (typeof w.flist !== 'string' || typeof w.memory !== 'number' || typeof w.cpus !== 'number')
    throw new ZosError(`Read the spec of slot ${slot}: it names no flist, memory or cpus`, { code: 'bad-spec' })
  const [entrypoint, ...first] = w.entrypoint ?? []
  const request: RunRequest = {
    image: w.image,
    command: [...first, ...(w.args ?? [])],
    env: Object.entries({ ...w.env, ...w.secrets }).map(([name, value]) => `${name}=${value}`),
    hostname: `${w.name}-${slot}`,
    tty: false,
    interactive: false,
    detach: true,
    remove: false,
    init: false,
    readOnly: false,
    volumes: (w.volumes ?? []).map((v) => ({
      source: volumeName(deployment, slot, v.name, wiped),
      target: v.path,
      readOnly: v.readonly,
      // written by a client of an earlier version it may be less than a file system needs
      size: Math.max(v.size, LEAST_VOLUME_MIB) * 2 ** 20,
    })),
    disk: (w.disk ?? DISK_MIB) * 2 ** 20,
    tmpfs: [],
    // none: what reaches a port comes through the agent, never through a listener on the node
    ports: [],
    memory: w.memory * 2 ** 20,
    cpus: w.cpus / 1000,
    restart: restartOf(w.restart ?? 'unless-stopped'),
    // on a grid a volume is what was agreed on; the writable layer lives as long as one of its own would
    ignoreImageVolumes: true,
  }
  if (entrypoint !== undefined) request.entrypoint = entrypoint
  const network = networkOf(spec, request.hostname!)
  if (network) request.network = network
  if (w.user !== undefined) request.user = w.user
  if (w.workdir !== undefined) request.workdir = w.workdir
  const health = healthOf(w.health)
  if (health) request.health = health
  return { digest: w.flist, request }
}
