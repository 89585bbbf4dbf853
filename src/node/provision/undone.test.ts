// A report in a block that is undone before it is final is said again; one that stays is not. By a real chain whose finality is held back.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  createFarm,
  createGroup,
  deployContracts,
  deploymentId,
  draftTransition,
  keyOf,
  openEmbedded,
  openGrid,
  openRelayer,
  propose,
  readConsent,
  readReports,
  registerNode,
} from '#contract'
import type { Pinned, Said } from './pinned.ts'
import { poster } from './post.ts'
import { reporter } from './report.ts'

const [me, owner] = ['node', 'owner'].map((name) => keyOf(name, Buffer.alloc(32, name))) as [
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
]
const capacity = { cpu: 4000, ram: 4096, ssd: 4096, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 }
const root = `0x${'01'.repeat(32)}` as const

test('a report whose block is undone is said again, one that becomes final is not', { timeout: 180_000 }, async (t) => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'zos-undone-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const engine = stack.use(await openEmbedded({ dir }))
  const relayer = openRelayer()
  const { contract, since } = await deployContracts(engine, relayer)
  const first = await engine.finalized()
  /** What is final is the first block; what is in later ones is undone. */
  let [isHeldBack, isUndone] = [true, false]
  const later: typeof engine = {
    ...engine,
    finalized: () => (isHeldBack ? Promise.resolve(first) : engine.finalized()),
    request: (call) => (isUndone && call.method === 'eth_getLogs' ? Promise.resolve([]) : engine.request(call)),
  }
  const whole = openGrid(engine, contract, { since })
  const grid = openGrid(later, contract, { since })
  const farm = await createFarm(whole, relayer, owner.address, 'home')
  const { id: node } = await registerNode(whole, relayer, { node: me, owner }, { farm, capacity, country: 'DE' })
  const { group } = await createGroup(whole, relayer, { members: [owner], threshold: 1 })
  const before = await readConsent(whole, group, 'web')
  const slots = [{ index: 0, node, mode: 0, blob: root, resources: { ...capacity, cpu: 1, ram: 1, ssd: 1 } }]
  const transition = draftTransition(before.group, before.state, 'deploy', { specRoot: root, slots })
  assert.ok((await propose(whole, relayer, owner, { transition })).receipt)

  const { state: consent } = await readConsent(whole, group, 'web')
  const id = deploymentId(group, 'web')
  const watched = { group, name: 'web', consent, taken: 0, held: '', said: {}, released: [], dirty: false }
  const pinned: Pinned = { cursor: null, groups: {}, deployments: { [id]: watched } }
  const running: Said = { sequence: 1, phase: 'running', reason: '' }
  const words = new Map([[id, new Map([[0, running]])]])
  const lines: string[] = []
  const log = (line: string) => void lines.push(line)
  const post = poster(undefined, log)
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const report = reporter({ grid, post, account: relayer, key: me, node, log })
  const sent = () => engine.request({ method: 'eth_getTransactionCount', params: [relayer.account.address, 'latest'] })
  const turn = async () => {
    t.mock.timers.tick(6_000)
    return report.slots(pinned, words)
  }

  assert.equal(await turn(), true)
  const once = await sent()
  assert.equal(await turn(), false, 'it may still be undone')
  // the block becomes final, and has it
  isHeldBack = false
  assert.equal(await turn(), false)
  assert.deepEqual([await sent(), lines], [once, []])

  // another word, whose block is undone
  isHeldBack = true
  const failed: Said = { sequence: 1, phase: 'failed', reason: 'it ended' }
  words.get(id)!.set(0, failed)
  assert.equal(await turn(), true)
  const twice = await sent()
  ;[isHeldBack, isUndone] = [false, true]
  assert.equal(await turn(), true)
  assert.deepEqual(lines, ['report web/0: the block that had it was undone'])
  assert.equal(Number(await sent()), Number(twice) + 1)
  isUndone = false
  assert.equal(await turn(), false)
  assert.equal((await readReports(whole, group, 'web'))[0]!.phase, 'failed')
})
