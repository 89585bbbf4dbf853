import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { describe, MODE, openSealed, salted, sealSpecs, type WantedSlot } from '#contract'
import { identityOf } from '#mycelium'
import { type Kept, keep, keptIn, type Neighbours, reservedOf } from './neighbours.ts'
import { giveAddresses } from './network.ts'

const reader = () => {
  const sealSecret = randomBytes(32)
  const seal = `0x${identityOf(sealSecret).publicKey.toString('hex')}` as const
  return { key: { sealSecret }, seal }
}
const [ada, bob] = [reader(), reader()]
const readers = [ada.seal, bob.seal]

function wanted(deployment: string, ...workloads: { name: string; replicas?: number; rules?: object }[]): WantedSlot[] {
  const slots = workloads.flatMap(({ name, replicas = 1, rules = {} }) =>
    Array.from({ length: replicas }, (_, replica) => ({ workload: { name, image: name, ...rules }, replica })),
  )
  const rest = { resources: {} as never, node: undefined, countries: [], notCountries: [], regions: [] }
  return slots.map((one, slot) => ({ ...rest, index: slot, mode: MODE.keep, spec: { deployment, slot, ...one } }))
}

const give = async (slots: WantedSlot[], neighbours: Neighbours, kept: Kept[] = [], before: WantedSlot[] = []) =>
  giveAddresses(slots, {
    before: before.map(({ spec }) => spec),
    kept,
    neighbours,
    reserved: await reservedOf(neighbours, readers),
  })
const addressIn = (slots: WantedSlot[], slot: number): string =>
  slots[0]!.spec.network!.members.find((m) => m.slot === slot)!.address
const ports = [{ protocol: 'tcp', port: 80 }]

test('two deployments that name each other, whichever is first: what the first was told is what the second gets', async () => {
  const web = { name: 'web', rules: { reach: ['store/db'], allow: [{ from: ['store/*'], ports }] } }
  const shop = await give(wanted('shop', web), new Map([['store', { kept: keep(['*', 'db'], []) }]]))
  // any reader may deploy the second
  const { root, sealed } = await sealSpecs(
    shop.map(({ spec }) => salted(spec)),
    () => readers,
  )
  const at = { blob: sealed[0]!.blob, specRoot: root, index: 0, count: 1 }
  const opened = await openSealed(sealed[0]!.bytes, bob.key.sealSecret, at)
  const kept = await keptIn(opened.spec.network!.reserved, 'store', bob.key, readers)
  const db = { name: 'db', replicas: 2, rules: { allow: [{ from: ['shop/web'], ports }] } }
  const members = shop[0]!.spec.network!.members
  const store = await give(wanted('store', { name: 'cache' }, db), new Map([['shop', { members }]]), kept)
  const { others, allow } = shop[0]!.spec.network!
  assert.deepEqual(others, [{ names: ['db.store'], address: addressIn(store, 1) }])
  assert.deepEqual(allow![0]!.from, [addressIn(store, 1)])
  assert.deepEqual(store[1]!.spec.network!.allow![0]!.from, [addressIn(shop, 0)])
  assert.equal(new Set(store[0]!.spec.network!.members.map((m) => m.address)).size, 3)
  // nothing changes with the next version of either
  const again = await give(wanted('store', { name: 'cache' }, db), new Map([['shop', { members }]]), kept, store)
  assert.deepEqual(again, store)
  const running = new Map([['store', { members: store[0]!.spec.network!.members }]])
  const next = await give(wanted('shop', web), running, [], shop)
  assert.equal(next[0]!.spec.network!.others![0]!.address, others![0]!.address)
  assert.equal(next[0]!.spec.network!.reserved, undefined)
})

test('a rule for all of a deployment to come means its first slot, which introduces the others', async () => {
  const shop = await give(
    wanted('shop', { name: 'web', rules: { reach: ['store/*'] } }),
    new Map([['store', { kept: keep(['*'], []) }]]),
  )
  const kept = await keptIn(shop[0]!.spec.network!.reserved, 'store', ada.key, readers)
  const store = await give(wanted('store', { name: 'db' }, { name: 'cache' }), new Map(), kept)
  assert.deepEqual(shop[0]!.spec.network!.others, [{ names: [], address: addressIn(store, 0) }])
})

test('who names what others keep a key for already means the same slot', () => {
  const [first] = keep(['db'], [])
  assert.deepEqual(keep(['db'], [first!]), [first])
  assert.equal(keep(['*'], [first!])[0]!.secret, first!.secret)
  const [all] = keep(['*'], [])
  assert.equal(keep(['db'], [all!])[0]!.secret, all!.secret, 'the first of all may be that one')
  const [web, db] = keep(['web', 'db'], [all!, { rule: 'web', secret: all!.secret }])
  assert.equal(web!.secret, all!.secret)
  assert.notEqual(db!.secret, all!.secret)
})

test('keys that are kept are read by the readers alone, and by none of them when one has left', async () => {
  const neighbours = new Map([['store', { kept: keep(['db'], []) }]])
  const reserved = (await reservedOf(neighbours, readers))!
  const text = JSON.stringify(reserved)
  assert.ok(!text.includes(neighbours.get('store')!.kept[0]!.secret))
  assert.equal((await keptIn(reserved, 'store', ada.key, readers)).length, 1)
  assert.deepEqual(await keptIn(reserved, 'store', reader().key, readers), [], 'a node of the slot')
  assert.deepEqual(await keptIn(reserved, 'store', ada.key, [ada.seal]), [], 'one could read them and is no reader')
  assert.deepEqual(await keptIn(reserved, 'other', ada.key, readers), [])
  const made = { ...reserved, of: [{ ...reserved.of[0]!, address: '04'.repeat(16) }] }
  assert.deepEqual(await keptIn(made, 'store', ada.key, readers), [], 'not the address that was signed')
})

test('who approves is told that a rule names what does not run yet', async () => {
  const slots = await give(
    wanted('shop', { name: 'web', rules: { reach: ['store/*'] } }),
    new Map([['store', { kept: keep(['*'], []) }]]),
  )
  const transition = {
    kind: 'deploy',
    name: 'shop',
    sequence: 1,
    version: 1,
    deadline: 0,
    rules: { allow: [], deny: [], farms: 1 },
    names: [],
    expiry: 0,
  }
  const placed = [
    {
      index: 0,
      node: 1,
      mode: 0,
      blob: '0x',
      resources: { cpu: 1, ram: 1, ssd: 1, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 },
    },
  ]
  const said = describe({ transition: { ...transition, slots: placed } } as never, {
    specs: slots.map(({ spec }) => spec),
  })
  assert.ok(
    said.some((line) => /may reach 0[45].* \(store\/\*, which does not run yet\)/.test(line)),
    said.join('\n'),
  )
})
