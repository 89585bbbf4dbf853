// I10: nobody has a right that no group gave, whoever put the contract there included.
import assert from 'node:assert/strict'
import test from 'node:test'
import { consentArgs, freezeArgs } from './actions/consent.ts'
import {
  approve,
  createGroup,
  draftMembership,
  draftTransition,
  propose,
  readConsent,
  readDeployment,
  readGroup,
} from './actions/index.ts'
import { write } from './actions/relayer.ts'
import { ledger } from './artifact.ts'
import { openWorld, refusal, root, slot } from './testing/world.ts'
import { digestOf, ZERO } from './typed/digest.ts'
import { KINDS } from './typed/schema.ts'

/** Whatever changes state: one more, or one less, is to be thought of here. */
const WRITES = [
  'ack',
  'approve',
  'beat',
  'expire',
  'freeze',
  'notice',
  'post',
  'reclaim',
  'registerNode',
  'setFarm',
  'setGroup',
  'setNodeState',
]

test('I10: who deployed the contract, and who relays, can do nothing for a group', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  // this account put the contract on the chain, and carries every transaction
  const { grid, relayer } = w
  const deployer = relayer.account
  const n = await w.node('n')
  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
  const before = await readDeployment(grid, group, 'web')
  const members = await readGroup(grid, group)
  const consent = await readConsent(grid, group, 'web')
  const set = members.set
  const none = ['0x', `0x${'00'.repeat(65)}`] as const

  const mine = { ...set, members: [{ ...set.members[0]!, signer: deployer.address.toLowerCase() as `0x${string}` }] }
  const founded = await createGroup(grid, relayer, { members: [{ address: deployer.address }], threshold: 1 })

  for (const kind of KINDS.filter((k) => k !== 'deploy')) {
    const spec = ['update', 'undo', 'migrate'].includes(kind)
    const placed = { specRoot: kind === 'migrate' ? before.specRoot : root(2), slots: [slot(0, n.id)] }
    const t = draftTransition(consent.group, consent.state, kind, spec ? placed : {})
    const own = await deployer.sign({ hash: digestOf(grid.domain, 'Transition', t) })
    const tries = [[], ...[own, ...none].map((signature) => [0, 1].map((member) => ({ member, signature })))]
    for (const signatures of tries)
      assert.match(
        await refusal(write(grid, relayer, 'approve', [t, ...consentArgs(signatures)])),
        /contract-(BadSignature|NotEnoughWeight)/,
      )
    // one member's own approval twice is no two
    const [alice] = [w.members.alice].map((k) => ({
      member: set.members.findIndex((m) => m.signer === k.address),
      signature: k.sign(digestOf(grid.domain, 'Transition', t)),
    }))
    assert.match(
      await refusal(write(grid, relayer, 'approve', [t, ...consentArgs([alice!, alice!])])),
      /contract-BadSignature/,
    )
    // a set in which the deployer is the only member is not the group's, whether it is a group of its own or none
    for (const set of [digestOf(grid.domain, 'MemberSet', mine), founded.digest]) {
      const other = { ...t, set }
      const signature = await deployer.sign({ hash: digestOf(grid.domain, 'Transition', other) })
      const said = await refusal(write(grid, relayer, 'approve', [other, ...consentArgs([{ member: 0, signature }])]))
      assert.match(said, /contract-StaleEpoch/)
    }
    // nor does a group that nobody founded take anything
    const nobody = { ...t, group: root(9), set: ZERO }
    assert.match(await refusal(write(grid, relayer, 'approve', [nobody, ...consentArgs([])])), /contract-StaleEpoch/)
  }

  const next = draftMembership(members, { members: [{ address: deployer.address }], threshold: 1 }, 2 ** 32)
  const own = await deployer.sign({ hash: digestOf(grid.domain, 'MemberSet', next) })
  for (const signatures of [[], [{ member: 0, signature: own }]])
    assert.match(
      await refusal(write(grid, relayer, 'setGroup', [next, ...consentArgs(signatures)])),
      /contract-(BadSignature|NotEnough)/,
    )
  // the members of another group, or of one that nobody founded, are none of this one's
  const first = { ...next, epoch: 1 }
  for (const [changed, signatures] of [
    [{ ...next, previous: founded.digest }, [{ member: 0, signature: own }]],
    [{ ...next, group: root(9), previous: ZERO }, []],
    [{ ...first, group: root(9), previous: ZERO }, []],
    [{ ...next, epoch: 0 }, []],
  ] as const)
    assert.match(
      await refusal(write(grid, relayer, 'setGroup', [changed, ...consentArgs(signatures)])),
      /contract-(StaleEpoch|Founding)/,
    )
  assert.match(
    await refusal(
      write(grid, relayer, 'setGroup', [{ ...first, group: ZERO }, ...consentArgs([{ member: 0, signature: own }])]),
    ),
    /contract-NotAMember/,
  )
  const f = {
    group,
    epoch: set.epoch,
    name: 'web',
    sequence: before.sequence,
    until: Math.floor(Date.now() / 1000) + 60,
  }
  const stop = { member: 0, signature: await deployer.sign({ hash: digestOf(grid.domain, 'Freeze', f) }) }
  assert.match(await refusal(write(grid, relayer, 'freeze', freezeArgs(f, stop))), /contract-BadSignature/)
  for (const [verb, args] of [
    ['notice', [before.id, 0]],
    ['reclaim', [before.id, 0]],
    ['setNodeState', [n.id, 3]],
    ['setFarm', [w.farm, deployer.address, 'mine']],
    ['expire', [before.id]],
    ['reclaim', [before.id, 256]],
  ] as const)
    assert.match(await refusal(write(grid, relayer, verb, [...args])), /contract-(NotTheOwner|TooEarly)/, verb)

  assert.deepEqual(await readDeployment(grid, group, 'web'), before)
  assert.deepEqual(await readGroup(grid, group), members)
  // and two members can, by the same relayer
  const t = draftTransition(consent.group, consent.state, 'cancel')
  const { id } = await propose(grid, relayer, w.members.alice, { transition: t })
  await approve(grid, relayer, w.members.bob, group, id)
  assert.equal((await readDeployment(grid, group, 'web')).state, 'cancelled')
})

test('I10: the contract has no other way to be changed, and cannot become another', () => {
  type Function = { type: string; name: string; stateMutability: string }
  const writes = (ledger.abi as unknown as Function[]).filter(
    (f) => f.type === 'function' && !['view', 'pure'].includes(f.stateMutability),
  )
  assert.deepEqual(writes.map((f) => f.name).sort(), WRITES)
  const code = Buffer.from(ledger.deployedBytecode.slice(2), 'hex')
  const used = new Set<number>()
  // what follows PUSH1 (0x60) to PUSH32 is data
  for (let at = 0; at < code.length; at += code[at]! >= 0x60 && code[at]! <= 0x7f ? code[at]! - 0x5e : 1)
    used.add(code[at]!)
  assert.ok(used.has(0xfa), 'it asks contract wallets (STATICCALL)')
  for (const [name, op] of Object.entries({ CALLCODE: 0xf2, DELEGATECALL: 0xf4, SELFDESTRUCT: 0xff }))
    assert.equal(used.has(op), false, name)
})
