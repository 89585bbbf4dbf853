import { ZosError } from '#codec'
import type { SlotSpec, Workload } from '#contract'
import type { RestartPolicy, RunRequest } from '#wire'
import { networkOf } from './cards.ts'
import { volumeName } from './names.ts'

function restartOf(text: string): RestartPolicy {
  const [name = '', max] = text.split(':')
  return max === undefined
    ? { name: name as RestartPolicy['name'] }
    : { name: name as RestartPolicy['name'], max: Number(max) }
}

/** What the compute plane is asked for. A slot's spec was written by a client of any version: only what it needs is read. */
export function requestOf(deployment: string, slot: number, spec: SlotSpec): { digest: string; request: RunRequest } {
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
      source: volumeName(deployment, slot, v.name),
      target: v.path,
      readOnly: v.readonly,
    })),
    tmpfs: [],
    // none: what reaches a port comes through the agent, never through a listener on the node
    ports: [],
    memory: w.memory * 2 ** 20,
    cpus: w.cpus / 1000,
    restart: restartOf(w.restart ?? 'unless-stopped'),
  }
  if (entrypoint !== undefined) request.entrypoint = entrypoint
  const network = networkOf(spec, request.hostname!)
  if (network) request.network = network
  if (w.user !== undefined) request.user = w.user
  if (w.workdir !== undefined) request.workdir = w.workdir
  return { digest: w.flist, request }
}
