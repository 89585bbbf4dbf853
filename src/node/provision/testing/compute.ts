// A node's slots without a node: a compute plane as its calls are specified, and deployments for it. Not exported.
import assert from 'node:assert/strict'
import { keyOf, noConsent, type Resources, salted, sealSpecs, type Transition } from '#contract'
import type { Running, Wanted } from '../../compute/api.ts'
import type { Compute } from '../acts.ts'
import type { Watched } from '../pinned.ts'
import { slotKeeper } from '../slots.ts'

type Hex = `0x${string}`

export const ME = 7
export const ID = `0x${'d1'.repeat(32)}` as Hex
const key = keyOf('node', Buffer.alloc(32, 9))
const blobs = new Map<Hex, Uint8Array>()

/** A compute plane as its calls are specified, which dies with its caller at a chosen call. Never two of one slot at once. */
export class Model {
  readonly workloads = new Map<string, Running>()
  readonly volumes = new Set<string>()
  starts = 0
  calls = 0
  dieAt = Number.POSITIVE_INFINITY
  /** Whether the call it dies at still took effect. */
  after = false
  dead = false

  readonly call: Compute = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    if (this.dead) throw new Error('killed')
    const changes = method !== 'GET'
    const dies = changes && ++this.calls === this.dieAt
    if (!dies || this.after) {
      const value = this.#answer(method, path, body)
      if (!dies) return value as T
    }
    this.dead = true
    throw new Error('killed')
  }

  #answer(method: string, path: string, body: unknown): unknown {
    const [, folder, name = '', verb] = path.split('/')
    if (folder === 'ping') return { pid: 1 }
    if (method === 'GET')
      return folder === 'workloads' ? [...this.workloads.values()] : [...this.volumes].map((v) => ({ name: v }))
    if (folder === 'volumes') return void this.volumes.delete(name)
    const known = this.workloads.get(name)
    if (method === 'DELETE') return void this.workloads.delete(name)
    if (method === 'PUT') return known ?? this.#make(name, body as Wanted)
    assert.ok(known, `${verb} of what is not there`)
    if (verb === 'stop' && known.state === 'running')
      Object.assign(known, { state: 'exited', byHand: true, exitCode: 0 })
    if (verb === 'start' && known.state !== 'running') {
      const slot = name.split('.').slice(0, 2).join('.')
      const twin = [...this.workloads.values()].find((w) => w.state === 'running' && w.name.startsWith(`${slot}.`))
      assert.equal(twin, undefined, 'two of one slot at once')
      this.starts++
      Object.assign(known, { state: 'running', byHand: false, startedAt: new Date().toISOString() })
    }
    return undefined
  }

  #make(name: string, { digest, request }: Wanted): void {
    for (const v of request.volumes) this.volumes.add(v.source)
    const fresh = {
      exitCode: null,
      reason: '',
      restarts: 0,
      startedAt: null,
      finishedAt: null,
      health: null,
      byHand: false,
    }
    this.workloads.set(name, { name, digest, state: 'created', ...fresh })
  }

  running = () => [...this.workloads.values()].filter((w) => w.state === 'running').map((w) => w.digest)
}

/** A deployment of two slots here, whose spec is version N. */
export async function deployment(
  n: number,
  restart = 'unless-stopped',
  booked: Partial<Resources> = {},
  disks: object = {},
): Promise<Watched> {
  const specs = [0, 1].map((slot) =>
    salted({
      deployment: 'web',
      slot,
      replica: slot,
      workload: {
        name: 'web',
        image: 'web',
        flist: String(n).repeat(64),
        memory: 64,
        cpus: 1000,
        uplink: 500,
        restart,
        volumes: [{ name: 'data', path: '/data', size: 1, readonly: false }],
        ...disks,
      },
    }),
  )
  const { root, sealed } = await sealSpecs(specs, () => [key.seal])
  for (const s of sealed) blobs.set(s.blob, s.bytes)
  const resources = { cpu: 1000, ram: 64, ssd: 1025, hdd: 0, uplink: 500, gpu: 0, ipv4: 0, ...booked }
  const slots = sealed.map(({ blob }, index) => ({ index, node: ME, mode: 0, blob, resources }))
  const rules = { allow: [], deny: [], farms: 0 }
  const placed = { specRoot: root, slots, rules, expiry: 0, drain: 0, sequence: n } as unknown as Transition
  const consent = { ...noConsent('web'), status: 'active' as const, sequence: n, version: n, placed }
  return { group: ID, name: 'web', consent, taken: Date.now(), held: '', said: {}, released: [], dirty: false }
}

export const MUCH: Resources = { cpu: 8000, ram: 4096, ssd: 99_999, hdd: 9, uplink: 9999, gpu: 9, ipv4: 9 }

export const keeper = (model: Model, capacity = MUCH, place = { country: 'DE', region: 'DE-BY' }) =>
  slotKeeper({
    capacity,
    place,
    me: ME,
    sealSecret: key.sealSecret,
    compute: model.call,
    log: () => {},
    specs: { get: async (blob) => blobs.get(blob)! },
    leaseOf: () => ({ held: false, why: 'no lease' }),
    cards: { want: async () => {}, share: () => {} },
  })
