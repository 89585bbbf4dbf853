import assert from 'node:assert/strict'
import test from 'node:test'
import { type Kind, keyOf, noConsent, type Resources, salted, sealSpecs, type Transition } from '#contract'
import type { Running, Wanted } from '../compute/api.ts'
import type { Compute } from './acts.ts'
import type { Watched } from './pinned.ts'
import { slotKeeper } from './slots.ts'

type Hex = `0x${string}`

const ME = 7
const ID = `0x${'d1'.repeat(32)}` as Hex
const key = keyOf('node', Buffer.alloc(32, 9))
const blobs = new Map<Hex, Uint8Array>()

/** A compute plane as its calls are specified, which dies with its caller at a chosen call. Never two of one slot at once. */
class Model {
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
async function deployment(
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
        ...{ name: 'web', image: 'web', flist: String(n).repeat(64), memory: 64, cpus: 1000, uplink: 500, restart },
        volumes: [{ name: 'data', path: '/data', size: 1, readonly: false }],
        ...disks,
      },
    }),
  )
  const { root, sealed } = await sealSpecs(specs, () => [key.seal])
  for (const s of sealed) blobs.set(s.blob, s.bytes)
  const resources = { cpu: 1000, ram: 64, ssd: 1025, hdd: 0, uplink: 500, gpu: 0, ipv4: 0, ...booked }
  const slots = sealed.map(({ blob }, index) => ({ index, node: ME, mode: 0, blob, resources }))
  const placed = { specRoot: root, slots, expiry: 0, drain: 0 } as unknown as Transition
  const consent = { ...noConsent('web'), status: 'active' as const, sequence: n, version: n, placed }
  return { group: ID, name: 'web', consent, taken: Date.now(), held: '', said: {}, released: [], dirty: false }
}

const keeper = (model: Model) =>
  slotKeeper({
    ...{ me: ME, sealSecret: key.sealSecret, compute: model.call, log: () => {} },
    specs: { get: async (blob) => blobs.get(blob)! },
    leaseOf: () => ({ held: false, why: 'no lease' }),
    cards: { want: async () => {}, share: () => {} },
  })

/** Killed at call AT and started anew, the slots come to the same end. True when the kill fell within the work. */
async function killedAt(
  at: number,
  after: boolean,
  from: Watched,
  to: Watched,
  end: (m: Model) => void,
): Promise<boolean> {
  const model = new Model()
  await keeper(model)({ [ID]: from })
  const before = model.starts
  Object.assign(model, { calls: 0, dieAt: at, after })
  await keeper(model)({ [ID]: to }).catch(() => {})
  const fell = model.dead
  Object.assign(model, { dead: false, dieAt: Number.POSITIVE_INFINITY })
  const again = keeper(model)
  for (let pass = 0; pass < 2; pass++) await again({ [ID]: to })
  end(model)
  assert.ok(model.starts - before <= 2, 'what runs is not started again')
  return fell
}

const kinds: [Kind, (d: Watched, next: Watched) => Watched, (m: Model) => void][] = [
  [
    'update',
    (_d, next) => next,
    (m) => assert.deepEqual([m.running(), m.workloads.size], [['2'.repeat(64), '2'.repeat(64)], 2]),
  ],
  [
    'freeze',
    (d) => ({ ...d, consent: { ...d.consent, frozenUntil: 2e9 } }),
    (m) => assert.deepEqual([m.running(), m.workloads.size, m.volumes.size], [[], 2, 2]),
  ],
  [
    'cancel',
    (d) => ({ ...d, consent: { ...d.consent, status: 'cancelled' } }),
    (m) => assert.deepEqual([m.running(), m.workloads.size, m.volumes.size], [[], 2, 2]),
  ],
  [
    'wipe',
    (d) => ({ ...d, consent: { ...d.consent, status: 'wiped' } }),
    (m) => assert.deepEqual([m.workloads.size, m.volumes.size], [0, 0]),
  ],
]

for (const [kind, change, end] of kinds) {
  test(`${kind}: killed at each call, before and after it took effect, the node comes to the same end`, async () => {
    const first = await deployment(1)
    const to = change(first, await deployment(2))
    let kills = 0
    for (const after of [false, true]) {
      for (let at = 1; await killedAt(at, after, first, to, end); at++) kills++
    }
    assert.ok(kills >= 4, `${kills} kills`)
  })
}

test('what ended by itself stays as its policy has it, whichever plane was killed meanwhile', async () => {
  for (const [restart, states] of [
    ['no', ['exited', 'exited']],
    ['unless-stopped', ['running', 'running']],
    ['on-failure', ['exited', 'running']],
  ] as const) {
    const model = new Model()
    const d = await deployment(1, restart)
    await keeper(model)({ [ID]: d })
    const finishedAt = new Date().toISOString()
    for (const [n, w] of [...model.workloads.values()].entries())
      Object.assign(w, { state: 'exited', exitCode: n, finishedAt })
    await keeper(model)({ [ID]: d })
    assert.deepEqual(
      [...model.workloads.values()].map((w) => w.state),
      states,
      restart,
    )
  }
})

test('a spec that asks for more or less than was booked does not run, whichever resource it is', async () => {
  const model = new Model()
  for (const [resource, booked] of [
    ['cpu', 999],
    ['ram', 32],
    ['ssd', 1024],
    ['hdd', 1],
    ['uplink', 0],
    ['uplink', 501],
    ['gpu', 1],
    ['ipv4', 1],
  ] as const) {
    const words = await keeper(model)({ [ID]: await deployment(1, 'no', { [resource]: booked }) })
    const said = words.get(ID)!.get(0)!
    assert.equal(said.phase, 'failed')
    assert.match(said.reason, new RegExp(`the spec asks for \\d+ of ${resource}, agreed on was ${booked}$`))
  }
  // the sum is right, its parts are not
  const volume = (size: unknown) => ({ name: 'data', path: '/data', size, readonly: false })
  for (const disks of [
    { disk: 2024, volumes: [volume(-999)] },
    { disk: -1, volumes: [volume(1026)] },
    { disk: 1024.5, volumes: [volume(0.5)] },
    { volumes: [volume(0), volume(1)] },
    { disk: '1024', volumes: [volume(1)] },
  ]) {
    const words = await keeper(model)({ [ID]: await deployment(1, 'no', {}, disks) })
    assert.match(words.get(ID)!.get(0)!.reason, /the spec asks for a disk or volume of \S+ MiB/)
  }
  assert.equal(model.workloads.size, 0)
  await keeper(model)({ [ID]: await deployment(1) })
  assert.equal(model.running().length, 2)
})

test('absence from a list deletes nothing', async () => {
  const model = new Model()
  await keeper(model)({ [ID]: await deployment(1) })
  await keeper(model)({})
  assert.equal(model.running().length, 2)
})

test('what fails its health check runs on, and its group is told', async () => {
  const model = new Model()
  const keep = keeper(model)
  const from = await deployment(1)
  const reasons = async () => [...(await keep({ [ID]: from })).get(ID)!.values()].map((s) => `${s.phase} ${s.reason}`)
  assert.deepEqual(await reasons(), ['running ', 'running '])
  const [one, two] = [...model.workloads.values()]
  Object.assign(one!, { health: 'unhealthy' })
  Object.assign(two!, { health: 'healthy' })
  assert.deepEqual(await reasons(), ['running unhealthy: its health check fails', 'running '])
  assert.equal(model.starts, 2)
})
