import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  approve,
  codeHashOf,
  type Draft,
  digestOf,
  draftMembership,
  draftTransition,
  freeze,
  type Grid,
  type Key,
  type Kind,
  openGrid,
  placeOf,
  propose,
  readConsent,
  readGroup,
  type Signature,
  type Transition,
} from '../../src/contract/index.ts'
import { openWorld, root, slot } from '../../src/contract/testing/world.ts'
import type { Pinned } from '../../src/node/provision/pinned.ts'
import { pull } from '../../src/node/provision/pull.ts'
import { aboutLogs, approvedLog, type Lie, type Log, lyingEngine, topicOf } from '../lies.ts'

const truth: Lie = (_method, _params, answer) => answer
const empty = (): Pinned => ({ cursor: null, groups: {}, deployments: {} })
const isApproved = (l: Log) => l.topics[0] === topicOf('Approved')

test('what the chain claims is taken only with signatures that show it, and nothing is lost by a lie', async (t) => {
  await using w = await openWorld()
  const { alice, bob, carol } = w.members
  const { id: me } = await w.node('here')
  const { group, set: founding } = await w.team()
  const spec = (n: number, node = me): Draft => ({ specRoot: root(n), slots: [slot(0, node)] })
  await w.agree(group, 'web', 'deploy', spec(1))
  await w.agree(group, 'web', 'update', spec(2))

  let lie = truth
  const liar = openGrid(
    lyingEngine(w.grid.engine, () => lie),
    w.grid.contract,
    { since: w.grid.since },
  )
  const pinned = empty()
  const node = { id: me, codeHash: await codeHashOf(w.grid), owner: w.owner.address }
  const look = (whole = true, into = pinned, grid: Grid = liar) => pull(grid, into, node, { whole, log: () => {} })
  const web = () => Object.values(pinned.deployments).find((d) => d.name === 'web')!
  await look()
  assert.deepEqual([web().consent.version, web().held], [2, ''])

  // dora takes carol's place: epoch 2, pinned by this node
  const dora = w.owner
  const next = {
    members: [alice, bob, dora].map((m) => ({ address: m.address, seal: m.seal })),
    threshold: 2,
  }
  const state = await readGroup(w.grid, group)
  const change = draftMembership(state, next, Math.floor(Date.now() / 1000) + 3600)
  const { id } = await propose(w.grid, w.relayer, alice, { set: change })
  await approve(w.grid, w.relayer, bob, group, id)
  await look()
  assert.equal(pinned.groups[group]!.set.epoch, 2)

  const { group: team, state: consent } = await readConsent(w.grid, group, 'web')
  const old = { ...team, set: founding, digest: group }
  const sign = (t: Transition, by: Key[], as = team, domain = w.grid.domain): Signature[] => {
    const digest = digestOf(domain, 'Transition', t)
    return by
      .map((k) => ({ member: placeOf(as, k.address), signature: k.sign(digest) }))
      .sort((a, b) => a.member - b.member)
  }
  const step = (kind: Kind, draft: Draft, as = team): Transition => draftTransition(as, consent, kind, draft)
  const head = BigInt((await w.grid.engine.finalized()).number)
  /** The chain claims that it took this step. */
  const claims = (t: Transition, signatures: Signature[]): Lie =>
    aboutLogs((logs, [names]) =>
      (names as `0x${string}`[]).includes(topicOf('Approved'))
        ? [...logs, approvedLog(w.grid, t, signatures, head)]
        : logs,
    )
  const good = step('update', spec(3))
  const moved = { ...good, slots: [slot(0, me, {}, { blob: `0x${'66'.repeat(32)}` })] }
  const stolen = sign(good, [alice, bob]).map((s, n) =>
    n === 0 ? { ...s, signature: carol.sign(digestOf(w.grid.domain, 'Transition', good)) } : s,
  )

  const lies: [name: string, lie: Lie, why: RegExp][] = [
    [
      'a step of a stale epoch',
      claims(step('update', spec(3), old), sign(step('update', spec(3), old), [alice, carol], old)),
      /is of epoch 1; the group is at epoch 2/,
    ],
    ["a removed member's signature", claims(good, stolen), /is not by/],
    ['one approval where two are due', claims(good, sign(good, [alice])), /weight 1 of 2/],
    [
      'a replay from another chain',
      claims(good, sign(good, [alice, bob], team, { ...w.grid.domain, chainId: 1 })),
      /is not by/,
    ],
    [
      'a replay from another contract',
      claims(good, sign(good, [alice, bob], team, { ...w.grid.domain, contract: `0x${'12'.repeat(20)}` })),
      /is not by/,
    ],
    ['a swapped blob', claims(moved, sign(good, [alice, bob])), /is not by/],
    [
      'a version that is not the next',
      claims({ ...good, version: 9 }, sign({ ...good, version: 9 }, [alice, bob])),
      /has version 9, 3 is due/,
    ],
    [
      'a step that was signed, but that no final block holds',
      claims(step('update', spec(3)), sign(step('update', spec(3)), [alice, bob])),
      /proven state is at step 2/,
    ],
    [
      'versions in another order',
      aboutLogs((logs) => (logs.filter(isApproved).length > 1 ? logs.toReversed() : logs)),
      /does not follow|is not the one that was taken up/,
    ],
    [
      'an earlier history',
      aboutLogs((logs) => logs.filter((l, n) => !isApproved(l) || n < logs.findLastIndex(isApproved))),
      /1 steps where 2 were seen/,
    ],
    ['empty lists', aboutLogs(() => []), /there is none on this chain/],
  ]
  for (const [name, told, why] of lies) {
    await t.test(name, async () => {
      const before = structuredClone(web().consent)
      lie = told
      await look().catch((error: Error) => {
        web().held = error.message
      })
      assert.deepEqual(web().consent, before, 'nothing was taken')
      assert.match(web().held, why)
      lie = truth
      await look()
      assert.deepEqual([web().held, web().consent], ['', before], 'and with the truth all is well')
    })
  }

  await t.test('a chain that went back is not followed', async () => {
    lie = (method, _params, answer) =>
      ['finalized', 'eth_getBlockByNumber'].includes(method)
        ? { ...(answer as object), hash: `0x${'00'.repeat(32)}` }
        : answer
    const before = structuredClone(pinned)
    await assert.rejects(look(), { code: 'chain-went-back' })
    assert.deepEqual(pinned, before)
    lie = truth
  })

  await t.test('a state in which the contract has other code is not looked at', async () => {
    const other = { ...node, codeHash: root(9) }
    const fresh = empty()
    await pull(liar, fresh, other, { whole: true, log: () => {} })
    const [held] = Object.values(fresh.deployments)
    assert.match(held!.held, /code is not the one/)
    assert.equal(held!.consent.sequence, 0)
  })

  await t.test('a proof with another word in it is refused', async () => {
    lie = (method, _params, answer) =>
      method === 'eth_getProof'
        ? JSON.parse(
            JSON.stringify(answer).replace(
              /(0x[0-9a-f]{100})([0-9a-f])/,
              (_, before: string, digit: string) => before + (digit === '7' ? '8' : '7'),
            ),
          )
        : answer
    await look()
    assert.match(web().held, /a proof does not lead to/)
    lie = truth
  })

  await t.test('a freeze that is kept from us is noticed; one by a stranger is not taken', async () => {
    await freeze(w.grid, w.relayer, bob, group, 'web')
    lie = aboutLogs((logs) => logs.filter((l) => l.topics[0] !== topicOf('Frozen')))
    await look()
    assert.match(web().held, /the freezes told are not those of the proven state/)
    assert.equal(web().consent.frozenUntil, 0)
    lie = truth
    await look()
    assert.ok(web().consent.frozenUntil > Date.now() / 1000)
  })

  await t.test('a deployment whose first event was kept back is found later', async () => {
    lie = aboutLogs(() => [])
    await w.agree(group, 'late', 'deploy', { specRoot: root(7), slots: [slot(0, me)] }).catch(() => {})
    const fresh = empty()
    await look(false, fresh)
    lie = truth
    await look(false, fresh)
    assert.deepEqual(fresh.deployments, {}, 'its event is behind the cursor')
    await look(true, fresh)
    assert.deepEqual(
      Object.values(fresh.deployments)
        .map((d) => d.name)
        .sort(),
      ['late', 'web'],
    )
  })

  await t.test('a step taken before a change of members is taken by a node that comes back after it', async () => {
    const late = empty()
    await look(true, late)
    assert.deepEqual(
      [late.groups[group]!.set.epoch, Object.values(late.deployments).every((d) => d.held === '')],
      [2, true],
    )
  })
})
