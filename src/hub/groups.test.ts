import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { chunkIdOf, type Hub, hubCall, keyName, leafHashes, seal, signReads } from '#cas'
import { codeOf } from '#codec'
import {
  createFarm,
  createGroup,
  deployContracts,
  draftMembership,
  draftTransition,
  hubDomain,
  type Key,
  keyOf,
  migrationOf,
  openEmbedded,
  openGrid,
  openRelayer,
  propose,
  readConsent,
  readGroup,
  registerNode,
  sendReport,
  signHubPass,
  signReport,
} from '#contract'
import { sleep } from '#sys'
import { serveHub } from './server.ts'

type Hex = `0x${string}`
const key = (name: string): Key => keyOf(name, Buffer.from(name.padEnd(32, '.')))
const hubKey = () => generateKeyPairSync('ed25519').privateKey
const chunkOf = (n: number) => {
  const chunk = Buffer.alloc(8192, n)
  return { id: chunkIdOf(leafHashes(chunk)).toString('hex'), stored: seal('chunk', chunk) }
}
const [alice, bob, carol, mallory, owner] = ['alice', 'bob', 'carol', 'mallory', 'owner'].map(key) as [
  Key,
  Key,
  Key,
  Key,
  Key,
]
/** So long the hub believes what the chain said; what is changed here is changed that much later. Milliseconds. */
const FRESH = 50
const passed = () => sleep(FRESH + 10)

const lots = { cpu: 4000, ram: 4096, ssd: 4096, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 }
const few = { ...lots, cpu: 1000, ram: 128, ssd: 128 }

/** A chain at a URL, a group of three with two nodes, and a hub that believes that chain for a moment. */
async function world(stack: AsyncDisposableStack) {
  const dir = await mkdtemp(join(tmpdir(), 'zos-hub-groups-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const engine = stack.use(await openEmbedded({ dir: join(dir, 'chain') }))
  const rpc = await engine.serve({ port: 0 })
  const relayer = openRelayer()
  const { contract, since } = await deployContracts(engine, relayer)
  const grid = openGrid(engine, contract, { since })
  const farm = await createFarm(grid, relayer, owner.address, 'home')
  const nodes = [key('node1'), key('node2')]
  for (const node of nodes)
    await registerNode(grid, relayer, { node, owner }, { farm, capacity: lots, country: 'DE', attributes: {} })
  const terms = (members: Key[]) => ({
    members: members.map(({ address, seal }) => ({ address, seal })),
    threshold: 1,
  })
  const { group } = await createGroup(grid, relayer, terms([alice, bob]))
  const file = join(dir, 'grid.json')
  const { chainId, genesis } = engine
  const url = `http://127.0.0.1:${(rpc.address() as AddressInfo).port}`
  const facts = {
    format: 'zos-grid/1',
    chainId,
    genesis,
    contract,
    since: Number(since),
    rpc: [url],
    hub: [],
    peers: [],
  }
  const serve = async (more = {}) => {
    const server = await serveHub({
      at: join(dir, 'hub'),
      port: 0,
      grid: file,
      names: ['hub://one'],
      fresh: FRESH,
      ...more,
    })
    stack.defer(() => {
      server.close()
      server.closeAllConnections()
    })
    return hubCall({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }, 'hub')
  }
  return { dir, grid, relayer, nodes, group, terms, serve, rpc, known: () => writeFile(file, JSON.stringify(facts)) }
}

test('what a group keeps at a hub is read by its members, its nodes, and whom a member names', async () => {
  await using stack = new AsyncDisposableStack()
  const w = await world(stack)
  const { grid, relayer, group, nodes } = w
  const hub = await w.serve()
  const domain = hubDomain(group, 'web')
  const soon = () => Math.floor(Date.now() / 1000) + 600
  const passFor = (
    by: Key,
    of: { secret?: ReturnType<typeof hubKey>; domain?: string; hub?: string; until?: number } = {},
  ) => {
    const secret = of.secret ?? hubKey()
    const name = of.hub ?? 'hub://one'
    const pass = { domain: of.domain ?? domain, hub: name, key: keyName(secret), until: of.until ?? soon() }
    return { key: secret, pass: { hub: name, text: signHubPass(grid.domain, by, pass) } }
  }
  const as = (by: Key, of = {}) => hub.as(passFor(by, of))
  const { id, stored } = chunkOf(1)
  const open = chunkOf(2)
  const bring = (call: Hub, into?: string, c = { id, stored }) =>
    call('PUT', `/objects/${c.id}`, c.stored).then(() => into)
  const into = (by: Key, said = domain) => hub.as({ ...passFor(by), headers: { 'x-zos-domain': said } })

  await assert.rejects(bring(into(alice)), { code: 'source-away' }, 'the grid is not known yet: come again')
  await w.known()
  // what failed is not tried again at once
  await sleep(2_000)
  await assert.rejects(bring(into(mallory)), { code: 'not-authorized', message: /is no member of the group/ })
  await assert.rejects(bring(into(nodes[0]!)), { code: 'not-authorized' })
  await assert.rejects(bring(into(alice, hubDomain(group, 'other'))), { message: /what was signed is for/ })
  await bring(into(alice))
  await bring(hub, undefined, open)

  /** What the hub says of the object, the same in every way it can be asked. */
  const reads = async (call: Hub): Promise<string> => {
    const one = async (ask: () => Promise<boolean>) => {
      try {
        return (await ask()) ? 'there' : 'none'
      } catch (error) {
        return codeOf(error)
      }
    }
    const ids = [id]
    const said = [
      await one(async () => (await call('GET', `/objects/${id}`)).status === 200),
      await one(async () => (await call('POST', `/objects/${id}/touch`)).body.includes('true')),
      await one(async () => !(await call('POST', '/missing', { ids })).body.includes(id)),
      await one(async () => (await call('POST', '/batch', { ids })).body.length > 4),
      await one(async () => (await call('GET', '/objects')).body.includes(id)),
    ]
    assert.deepEqual(new Set(said), new Set([said[0]]), String(said))
    assert.equal((await call('GET', `/objects/${open.id}`)).status, 200, 'what is public is anybody’s')
    return said[0]!
  }
  assert.equal(await reads(hub), 'none', 'without a signature there is none')
  assert.equal(await reads(as(alice)), 'there')
  assert.equal(await reads(as(bob)), 'there')
  assert.equal(await reads(as(bob, { domain: '*' })), 'there', 'all that the signer may read')
  assert.equal(await reads(as(mallory)), 'not-authorized')
  assert.equal(await reads(as(mallory, { domain: '*' })), 'none')
  assert.equal(await reads(as(nodes[0]!)), 'not-authorized', 'nothing is placed there yet')

  // a signature is for one hub, domain and key, and a time
  assert.equal(await reads(as(alice, { hub: 'hub://two' })), 'not-authorized')
  assert.equal(await reads(as(alice, { domain: hubDomain(group, 'other') })), 'none')
  assert.equal(await reads(as(alice, { until: soon() - 601 })), 'not-authorized')
  assert.equal(await reads(as(alice, { until: soon() + 31 * 86_400 })), 'not-authorized')
  assert.equal(await reads(hub.as({ ...passFor(alice), key: hubKey() })), 'not-authorized', 'one that was seen')
  const { pass } = passFor(alice)
  await assert.rejects(hub.as({ headers: { 'x-zos-for': pass.text } })('HEAD', `/objects/${id}`), {
    details: { status: 401 },
  })
  const forged = { hub: pass.hub, text: passFor(mallory).pass.text.replace(mallory.address, alice.address) }
  assert.equal(await reads(hub.as({ key: hubKey(), pass: forged })), 'not-authorized')
  const secret = hubKey()
  const late = signReads(secret, 'hub://one', Math.floor(Date.now() / 1000) - 400)
  const other = signReads(secret, 'hub://two')
  for (const authorization of [late, other, 'ZOS1-READS junk'])
    await assert.rejects(
      hub.as({ headers: { 'x-zos-for': passFor(alice, { secret }).pass.text, authorization } })(
        'GET',
        `/objects/${id}`,
      ),
      { code: 'not-authorized' },
    )
  // whom a member names, by their hub key
  const reader = hubKey()
  assert.equal(
    await reads(hub.as({ ...passFor(bob, { secret: reader, until: soon() + 86_400 }), key: reader })),
    'there',
  )

  // placed: the node reads; moved away: it does so until the other is up
  const step = async (kind: 'deploy' | 'migrate' | 'cancel', more: object) => {
    const { group: state, state: consent } = await readConsent(grid, group, 'web')
    await propose(grid, relayer, alice, { transition: draftTransition(state, consent, kind, more) })
    await passed()
    return (await readConsent(grid, group, 'web')).state
  }
  const blob = `0x${'b0'.repeat(32)}` as Hex
  const slots = [{ index: 0, node: 1, mode: 0 as const, blob, resources: few }]
  const specRoot = `0x${'1'.padStart(64, '0')}` as Hex
  const deployed = await step('deploy', { specRoot, slots, rules: { allow: [], deny: [], farms: 1 }, drain: 600 })
  assert.deepEqual([await reads(as(nodes[0]!)), await reads(as(nodes[1]!))], ['there', 'not-authorized'])
  assert.equal(await reads(as(nodes[0]!, { domain: '*' })), 'there')
  const report = async (node: number, phase: 'running', sequence: number) => {
    const word = { group, name: 'web', slot: 0, node, sequence, phase }
    await sendReport(grid, relayer, signReport(grid, nodes[node - 1]!, word))
    await passed()
  }
  await report(1, 'running', deployed.sequence)
  const moved = await step('migrate', migrationOf(deployed, 0, { node: 2, blob }))
  assert.deepEqual([await reads(as(nodes[0]!)), await reads(as(nodes[1]!))], ['there', 'there'])
  const away = as(nodes[0]!)
  assert.equal(await reads(away), 'there')
  await report(2, 'running', moved.sequence)
  assert.equal(await reads(away), 'not-authorized', 'though its signature is good still')
  assert.equal(await reads(as(nodes[1]!)), 'there')
  await step('cancel', {})
  assert.equal(await reads(as(nodes[1]!)), 'not-authorized')

  // members go and come
  const state = await readGroup(grid, group)
  const before = as(bob)
  assert.equal(await reads(before), 'there')
  const set = draftMembership(state, w.terms([alice, carol]), Math.floor(Date.now() / 1000) + 600)
  await propose(grid, relayer, alice, { set })
  await passed()
  assert.deepEqual([await reads(before), await reads(as(carol))], ['not-authorized', 'there'])

  // another that serves the same folder, and another that knows no grid
  assert.equal(await reads((await w.serve()).as(passFor(carol))), 'there')
  const plain = await w.serve({ grid: undefined })
  assert.equal(await reads(plain.as(passFor(carol))), 'none')
  await assert.rejects(bring(plain.as({ ...passFor(alice), headers: { 'x-zos-domain': domain } })), {
    message: /keeps nothing for groups/,
  })
  // where uploaders are known and counted, for a domain as well
  const known = hubKey()
  const quota = chunkOf(4).stored.length
  const policy = { uploaders: [{ key: keyName(known), name: 'carol', quota }] }
  const counted = await w.serve({ policy, at: `${w.dir}/counted` })
  const carols = (secret = known) => counted.as({ ...passFor(carol, { secret }), headers: { 'x-zos-domain': domain } })
  await assert.rejects(bring(carols(hubKey()), undefined, chunkOf(4)), { message: /known keys alone/ })
  await bring(carols(), undefined, chunkOf(4))
  await assert.rejects(bring(carols(), undefined, chunkOf(5)), { code: 'over-quota' })
  const lacks = await carols()('POST', '/missing', { ids: [chunkOf(4).id, chunkOf(5).id] })
  assert.deepEqual(JSON.parse(lacks.body.toString()), { missing: [chunkOf(5).id] }, 'it goes on where it was')

  // whoever has the bytes may publish them
  await bring(hub)
  assert.equal(await reads(hub), 'there')
})

test('the chain is away: who was known is served for a while, and nobody is told that there is none', async () => {
  await using stack = new AsyncDisposableStack()
  const w = await world(stack)
  await w.known()
  const hub = await w.serve()
  const domain = hubDomain(w.group, 'web')
  const { id, stored } = chunkOf(3)
  const call = (by: Key, headers = {}) => {
    const secret = hubKey()
    const until = Math.floor(Date.now() / 1000) + 600
    const text = signHubPass(w.grid.domain, by, { domain, hub: 'hub://one', key: keyName(secret), until })
    return hub.as({ key: secret, pass: { hub: 'hub://one', text }, headers })
  }
  await call(alice, { 'x-zos-domain': domain })('PUT', `/objects/${id}`, stored)
  const fresh = await w.serve()
  w.rpc.close()
  w.rpc.closeAllConnections()
  const get = async (from: Hub) => (await from('GET', `/objects/${id}`)).status
  assert.equal(await get(call(alice)), 200)
  await assert.rejects(get(call(mallory)), { code: 'not-authorized' })
  assert.equal(await get(hub), 404)
  const secret = hubKey()
  const until = Math.floor(Date.now() / 1000) + 600
  const text = signHubPass(w.grid.domain, alice, { domain, hub: 'hub://one', key: keyName(secret), until })
  await assert.rejects(get(fresh.as({ key: secret, pass: { hub: 'hub://one', text } })), { code: 'source-away' })
})
