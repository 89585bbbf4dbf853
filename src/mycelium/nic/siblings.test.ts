import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { freePort, sleep, until } from '#sys'
import { Daemon } from '../daemon/daemon.ts'
import { changed, FUZZ_RUNS } from '../fuzz.fixture.ts'
import { identityOf } from '../identity.ts'
import { announce, readAnnouncement } from './announcement.ts'
import { connected, Guest, LIMIT, tcp } from './guest.fixture.ts'
import { ipv4OfSlot, type NicNetwork } from './network.ts'
import { createSiblings } from './siblings.ts'

const addressOf = () => identityOf(randomBytes(32)).address
const ports = [{ protocol: 'tcp' as const, port: 80 }]
const hex = (all: Uint8Array[]) => all.map((one) => Buffer.from(one).toString('hex'))
const members = (label: string, ...addresses: Uint8Array[]) =>
  addresses.map((address, n) => ({ names: [label, `${label}-${n}`], address, ipv4: ipv4OfSlot(n) }))

/** What CARD sends in one round, by the gateway's /64 it goes to. */
function round(
  card: ReturnType<typeof createSiblings>,
  now: number,
): { to: string; source: Buffer; datagram: Buffer }[] {
  const sent: { to: string; source: Buffer; datagram: Buffer }[] = []
  const take = (p: Buffer) =>
    void sent.push({ to: p.toString('hex', 24, 32), source: p.subarray(8, 24), datagram: p.subarray(40) })
  for (let at = now; card.tick(at, take) - at < 1_000; at += 250);
  return sent
}

const [web, web2, db, db2, stranger] = [1, 2, 3, 4, 5].map(addressOf) as [Buffer, Buffer, Buffer, Buffer, Buffer]
const shop: NicNetwork = {
  domain: 'shop.zos',
  members: members('web', web),
  others: [{ names: ['db.store.zos', 'db-0.store.zos'], address: db }],
  reach: ['store/db'],
  ports,
}
const store: NicNetwork = {
  domain: 'store.zos',
  members: members('db', db),
  ports,
  allow: [{ from: [web], of: ['shop/web'], people: false, ports }],
}

test('later replicas join the rules that name their workload, and leave them', () => {
  const [a, b] = [createSiblings(web, shop, 0), createSiblings(db, store, 0)]
  const pass = (from: typeof a, to: typeof a, now: number) =>
    round(from, now).map(({ source, datagram }) => to.heard(source, datagram, now))
  assert.deepEqual(pass(a, b, 0), [false], 'nothing new')
  b.reform({ ...store, members: [...members('db', db, db2), ...members('cache', stranger)] }, 10)
  assert.deepEqual(pass(b, a, 10), [true])
  assert.deepEqual(hex(a.network.others!.map((o) => o.address)), hex([db, db2]))
  assert.deepEqual(a.network.others![1]!.names, ['db.store.zos', 'db-1.store.zos'])
  // the newcomer is told of us
  assert.deepEqual(
    round(a, 20).map(({ to }) => to),
    hex([db, db2]).map((one) => one.slice(0, 16)),
  )
  a.reform({ ...shop, members: members('web', web, web2) }, 30)
  assert.ok(pass(a, b, 30).includes(true))
  assert.deepEqual(hex(b.network.allow![0]!.from), hex([web, web2]))
  b.reform(store, 40)
  assert.deepEqual(hex(b.network.allow![0]!.from), hex([web, web2]), 'a new version of its own forgets nobody')
  assert.deepEqual(pass(b, a, 40).includes(true), true)
  assert.deepEqual(hex(a.network.others!.map((o) => o.address)), hex([db]))
})

test('who was named before it ran, by no name of its own, says what it is called', () => {
  const early = { ...shop, others: [{ names: [], address: db }], reach: ['store/*'] }
  const [card, other] = [createSiblings(web, early, 0), createSiblings(web, { ...early, reach: ['audit/*'] }, 0)]
  const said = announce({ ...store, members: members('db', db, db2) }, 1)[0]!
  for (const one of [card, other]) one.heard(db, Buffer.concat([Buffer.alloc(8), said]), 0)
  assert.deepEqual(
    card.network.others!.map(({ names }) => names),
    [
      ['db.store.zos', 'db-0.store.zos'],
      ['db.store.zos', 'db-1.store.zos'],
    ],
  )
  assert.deepEqual(other.network.others, [{ names: [], address: db }], 'the rule is about another deployment')
})

test('who is in no rule introduces nobody, who is in one nobody but of the workload it names', () => {
  const tell = (as: Buffer, network: NicNetwork) => {
    const card = createSiblings(db, store, 0)
    for (const payload of announce(network, 1)) card.heard(as, Buffer.concat([Buffer.alloc(8), payload]), 0)
    return hex(card.network.allow![0]!.from)
  }
  assert.deepEqual(tell(stranger, { ...shop, members: members('web', web, stranger) }), hex([web]))
  assert.deepEqual(tell(web2, { ...shop, members: members('web', web, web2) }), hex([web]))
  assert.deepEqual(tell(web, { ...shop, members: members('api', web, stranger) }), hex([web]))
  assert.deepEqual(tell(web, { ...shop, domain: 'other.zos', members: members('web', web, stranger) }), hex([web]))
  assert.deepEqual(tell(web, { ...shop, members: members('web', web, web2) }), hex([web, web2]))
  const all = { ...store, allow: [{ ...store.allow![0]!, of: ['shop/*'] }] }
  const card = createSiblings(db, all, 0)
  const [payload] = announce({ ...shop, members: members('api', web2) }, 1)
  card.heard(web, Buffer.concat([Buffer.alloc(8), payload!]), 0)
  assert.deepEqual(hex(card.network.allow![0]!.from), hex([web, web2]))
})

test('an announcement of many comes in pieces; cut off, changed or made up it harms nobody', () => {
  const many = Array.from({ length: 200 }, () => Buffer.concat([Buffer.from([4]), randomBytes(15)]))
  const pieces = announce({ ...shop, members: members('web', ...many) }, 7)
  assert.ok(pieces.length > 4 && pieces.every((one) => one.length <= 1_200))
  const card = createSiblings(db, store, 0)
  const said = [...pieces].reverse().map((one) => card.heard(web, Buffer.concat([Buffer.alloc(8), one]), 0))
  assert.equal(said.indexOf(true), pieces.length - 1)
  assert.equal(card.network.allow![0]!.from.length, 201)
  const [one] = pieces as [Buffer]
  for (let n = 0; n < 200; n++) readAnnouncement(one.subarray(0, n))
  for (let n = 0; n < FUZZ_RUNS; n++) {
    const piece = n % 2 ? changed(one) : randomBytes(randomInt(200))
    card.heard(web, Buffer.concat([Buffer.alloc(8), piece]), 0)
  }
  assert.ok(card.network.allow![0]!.from.length <= 4_097)
  assert.equal(
    readAnnouncement(announce({ ...shop, members: [{ names: ['web', 'db'], address: web }] }, 1)[0]!),
    undefined,
  )
})

test('between two nodes: a replica that comes later is let in, and is found by name', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-siblings-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const [w0, w1, d0, d1] = ['w0', 'w1', 'd0', 'd1'].map((n) => new Guest(t, dir, n)) as [Guest, Guest, Guest, Guest]
  const endpoint = { scheme: 'tcp', ip: '127.0.0.1', port: await freePort() } as const
  const one = await Daemon.start({ secret: randomBytes(32), listen: [endpoint], peers: [] })
  t.after(() => one[Symbol.asyncDispose]())
  const two = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [endpoint] })
  t.after(() => two[Symbol.asyncDispose]())
  const webs = (...all: Guest[]): NicNetwork => ({
    ...shop,
    members: members('web', ...all.map((g) => g.identity.address)),
    others: [{ names: ['db.store.zos', 'db-0.store.zos'], address: d0.identity.address }],
  })
  const dbs = (...all: Guest[]): NicNetwork => ({
    ...store,
    members: members('db', ...all.map((g) => g.identity.address)),
    allow: [{ from: [w0.identity.address], of: ['shop/web'], people: false, ports }],
  })
  const attach = (node: Daemon, { secret, path }: Guest, network: NicNetwork) =>
    node.attach({ secret, port: { kind: 'nic', path, network } })
  await attach(one, w0, webs(w0))
  await attach(two, d0, dbs(d0))
  await attach(one, w1, webs(w0, w1))
  await attach(two, d1, dbs(d0, d1))
  for (const guest of [w0, w1, d0, d1]) await guest.attached()
  await connected(one, two)
  w0.send(tcp(w0.identity, d0.identity, 40_000, 80))
  await d0.next()
  w1.send(tcp(w1.identity, d0.identity, 40_000, 80))
  await sleep(300)
  assert.equal(d0.received.length, 0, 'nobody has said yet who that is')
  // the new version of either deployment has come to its node
  await one.reform(w0.identity.publicKey.toString('hex'), webs(w0, w1))
  await until(
    'the later web to be let in',
    LIMIT,
    () => {
      w1.send(tcp(w1.identity, d0.identity, 40_001, 80))
      return d0.received.shift()
    },
    50,
  )
  await two.reform(d0.identity.publicKey.toString('hex'), dbs(d0, d1))
  await until(
    'the later db to be reached',
    LIMIT,
    () => {
      w0.send(tcp(w0.identity, d1.identity, 40_002, 80))
      return d1.received.shift()
    },
    50,
  )
})
