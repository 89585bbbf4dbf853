import assert from 'node:assert/strict'
import test from 'node:test'
import { ZosError } from '#codec'
import { membersOf } from '../actions/groups.ts'
import { type Draft, draftTransition } from '../actions/proposals.ts'
import type { Key } from '../keys/keys.ts'
import { key, root, slot } from '../testing/world.ts'
import { type Domain, digestOf, ZERO } from '../typed/digest.ts'
import type { Kind, MemberSet, Signature, Transition } from '../typed/schema.ts'
import { type ApprovalLog, encodeLog, verifyLog } from './log.ts'
import { applySet, foundGroup, type GroupState } from './set.ts'
import { applyApproval, applyFreeze, type ConsentState, noConsent } from './step.ts'

const domain: Domain = { chainId: 26426, contract: `0x${'c0'.repeat(20)}` }
const [alice, bob, carol, dave] = ['alice', 'bob', 'carol', 'dave'].map(key) as [Key, Key, Key, Key]

const setOf = (members: Key[], threshold: number, more: Partial<MemberSet> = {}): MemberSet => ({
  group: ZERO,
  epoch: 1,
  previous: root(77),
  members: membersOf(members.map((m) => ({ address: m.address }))),
  thresholds: { deploy: threshold, control: threshold, wipe: threshold, membership: threshold },
  freezeSeconds: 3600,
  deadline: 0,
  ...more,
})

function signed(set: MemberSet, digest: `0x${string}`, by: Key[]): Signature[] {
  return by
    .map((k) => ({ member: set.members.findIndex((m) => m.signer === k.address), signature: k.sign(digest) }))
    .map((s) => (s.member < 0 ? { ...s, member: 55 } : s)) // a stranger has no place
    .sort((a, b) => a.member - b.member)
}

const step = (g: GroupState, s: ConsentState, kind: Kind, draft: Draft = {}) => draftTransition(g, s, kind, draft)
const sign = (g: GroupState, t: Transition, by: Key[], d = domain) => signed(g.set, digestOf(d, 'Transition', t), by)
const spec = (n: number): Draft => ({ specRoot: root(n), slots: [slot(0, 1)] })

const codeOf = (work: () => unknown) => {
  try {
    work()
  } catch (error) {
    return error instanceof ZosError ? error.code : String(error)
  }
  return 'taken'
}

const team = foundGroup(domain, setOf([alice, bob, carol], 2))
const none = noConsent('web')

test('2 of 3 deploy, 1 of 3 does not; nobody counts twice; strangers do not count', () => {
  const t = step(team, none, 'deploy', spec(1))
  const apply = (by: Key[]) => codeOf(() => applyApproval(team, none, t, sign(team, t, by)))
  assert.equal(apply([alice, carol]), 'taken')
  assert.equal(apply([alice]), 'not-enough-weight')
  assert.equal(apply([alice, alice]), 'bad-signature')
  assert.equal(apply([alice, dave]), 'not-a-member')
  const [one] = sign(team, t, [alice])
  const borrowed = [0, 1, 2].map((member) => ({ member, signature: one!.signature }))
  assert.equal(
    codeOf(() => applyApproval(team, none, t, borrowed)),
    'bad-signature',
  )
})

test('another chain, another contract, another group, a stale epoch, a removed member: refused', () => {
  const t = step(team, none, 'deploy', spec(1))
  const elsewhere = (d: Domain) => codeOf(() => applyApproval(team, none, t, sign(team, t, [alice, bob], d)))
  assert.equal(elsewhere({ ...domain, chainId: 1 }), 'bad-signature')
  assert.equal(elsewhere({ ...domain, contract: `0x${'c1'.repeat(20)}` }), 'bad-signature')
  const other = foundGroup(domain, setOf([alice, bob, carol], 2, { previous: root(78) }))
  assert.equal(
    codeOf(() => applyApproval(other, noConsent('web'), t, sign(team, t, [alice, bob]))),
    'wrong-group',
  )
  assert.equal(
    codeOf(() => applyApproval(team, noConsent('api'), t, sign(team, t, [alice, bob]))),
    'wrong-group',
  )

  const next: MemberSet = { ...setOf([alice, bob, dave], 2), group: team.group, epoch: 2, previous: team.digest }
  const agreed = signed(team.set, digestOf(domain, 'MemberSet', next), [alice, carol])
  const later = applySet(team, next, agreed)
  assert.equal(
    codeOf(() => applySet(team, next, agreed.slice(1))),
    'not-enough-weight',
  )
  assert.equal(
    codeOf(() => applySet(later, next, agreed)),
    'stale-epoch',
  )
  assert.equal(
    codeOf(() => applyApproval(later, none, t, sign(team, t, [alice, bob]))),
    'stale-epoch',
  )
  const fresh = step(later, none, 'deploy', spec(1))
  assert.equal(
    codeOf(() => applyApproval(later, none, fresh, sign(later, fresh, [alice, carol]))),
    'not-a-member',
  )
  const forged = sign(later, fresh, [alice]).concat({
    member: 2,
    signature: carol.sign(digestOf(domain, 'Transition', fresh)),
  })
  assert.notEqual(
    codeOf(() => applyApproval(later, none, fresh, forged)),
    'taken',
  )
  assert.equal(
    codeOf(() => applyApproval(later, none, fresh, sign(later, fresh, [alice, dave]))),
    'taken',
  )
})

test('a reordered, skipped, repeated, late or altered step is refused', () => {
  const t1 = step(team, none, 'deploy', spec(1))
  const s1 = applyApproval(team, none, t1, sign(team, t1, [alice, bob]))
  const t2 = step(team, s1, 'update', spec(2))
  const two = sign(team, t2, [bob, carol])
  assert.equal(
    codeOf(() => applyApproval(team, none, t2, two)),
    'not-the-successor',
  )
  const s2 = applyApproval(team, s1, t2, two)
  assert.equal(s2.version, 2)
  assert.equal(
    codeOf(() => applyApproval(team, s2, t2, two)),
    'not-the-successor',
  )
  assert.equal(
    codeOf(() => applyApproval(team, s2, t1, sign(team, t1, [alice, bob]))),
    'not-the-successor',
  )
  assert.equal(
    codeOf(() => applyApproval(team, s1, t2, two, { now: t2.deadline + 1 })),
    'expired',
  )
  const swapped = { ...t2, slots: [{ ...t2.slots[0]!, blob: root(9) }] }
  assert.equal(
    codeOf(() => applyApproval(team, s1, swapped, two)),
    'bad-signature',
  )
  const moved = step(team, s2, 'migrate', spec(3))
  assert.equal(
    codeOf(() => applyApproval(team, s2, moved, sign(team, moved, [alice, bob]))),
    'bad-transition',
  )
  const jump = { ...step(team, s2, 'update', spec(3)), version: 7 }
  assert.equal(
    codeOf(() => applyApproval(team, s2, jump, sign(team, jump, [alice, bob]))),
    'bad-transition',
  )
  const thawWithSpec = step(team, s2, 'thaw', spec(3))
  assert.equal(
    codeOf(() => applyApproval(team, s2, thawWithSpec, sign(team, thawWithSpec, [alice, bob]))),
    'bad-transition',
  )
  const again = step(team, s2, 'deploy', spec(3))
  assert.equal(
    codeOf(() => applyApproval(team, s2, again, sign(team, again, [alice, bob]))),
    'wrong-state',
  )
})

test('one member freezes once an epoch; the quorum thaws', () => {
  const t = step(team, none, 'deploy', spec(1))
  const s = applyApproval(team, none, t, sign(team, t, [alice, bob]))
  const f = { group: team.group, epoch: 1, name: 'web', sequence: 1, until: 9000 }
  const [by] = signed(team.set, digestOf(domain, 'Freeze', f), [carol])
  const frozen = applyFreeze(team, s, f, by!)
  assert.deepEqual([frozen.frozenUntil, frozen.version, frozen.head], [9000, 1, s.head])
  assert.equal(
    codeOf(() => applyFreeze(team, frozen, f, by!)),
    'already-froze',
  )
  assert.equal(
    codeOf(() => applyFreeze(team, s, f, by!, { now: 0 })),
    'expired',
  )
  assert.equal(
    codeOf(() => applyFreeze(team, s, { ...f, until: 9001 }, by!)),
    'bad-signature',
  )
  const thaw = step(team, frozen, 'thaw')
  assert.equal(
    codeOf(() => applyApproval(team, frozen, thaw, sign(team, thaw, [alice]))),
    'not-enough-weight',
  )
  assert.equal(applyApproval(team, frozen, thaw, sign(team, thaw, [alice, bob])).frozenUntil, 0)
})

test('a wipe is remembered by its step, whatever the group deploys after it', () => {
  const take = (s: ConsentState, t: Transition) => applyApproval(team, s, t, sign(team, t, [alice, bob]))
  const one = take(none, step(team, none, 'deploy', spec(1)))
  assert.equal(one.wiped, undefined)
  const two = take(one, step(team, one, 'wipe'))
  const three = take(two, step(team, two, 'deploy', spec(2)))
  assert.deepEqual([two.wiped, three.wiped, three.status], [2, 2, 'active'])
})

/** A log with two epochs, two versions and a freeze. */
function sample(): { log: ApprovalLog; text: string } {
  const t1 = step(team, none, 'deploy', spec(1))
  const first = sign(team, t1, [alice, bob])
  const s1 = applyApproval(team, none, t1, first)
  const f = { group: team.group, epoch: 1, name: 'web', sequence: 1, until: 9000 }
  const freezes = [{ freeze: f, signature: signed(team.set, digestOf(domain, 'Freeze', f), [carol])[0]! }]
  const set: MemberSet = { ...setOf([alice, bob, dave], 2), group: team.group, epoch: 2, previous: team.digest }
  const agreed = signed(team.set, digestOf(domain, 'MemberSet', set), [bob, carol])
  const later = applySet(team, set, agreed)
  const t2 = step(later, s1, 'update', spec(2))
  const log: ApprovalLog = {
    format: 'zos-approval-log/1',
    ...domain,
    sets: [
      { set: team.set, signatures: [] },
      { set, signatures: agreed },
    ],
    approvals: [
      { transition: t1, signatures: first, freezes },
      { transition: t2, signatures: sign(later, t2, [alice, dave]), freezes: [] },
    ],
  }
  return { log, text: encodeLog(log) }
}

test('a log verifies from its text alone, and a change of any byte does not', () => {
  const { text } = sample()
  const v = verifyLog(text)
  assert.deepEqual([v.group.group, v.state.version, v.group.set.epoch, v.state.frozenUntil], [team.group, 2, 2, 9000])
  // one digit after the last 0x
  const at = text.lastIndexOf('0x') + 10
  assert.throws(
    () => verifyLog(text.slice(0, at) + (text[at] === 'a' ? 'b' : 'a') + text.slice(at + 1)),
    /Verify approval log/,
  )
  // by night each bit of every byte, for a commit one bit at a stride that keeps this to seconds
  const stride = process.env.ZOS_NIGHTLY ? 1 : 11
  const bytes = Buffer.from(text)
  for (let p = 0; p < bytes.length; p += stride)
    for (const bit of process.env.ZOS_NIGHTLY ? [0, 1, 2, 3, 4, 5, 6, 7] : [p % 8]) {
      const bad = Buffer.from(bytes)
      bad[p]! ^= 1 << bit
      const near = text.slice(p - 30, p + 10)
      assert.throws(() => verifyLog(bad.toString()), ZosError, `bit ${bit} of byte ${p} may be changed: ${near}`)
    }
})

test('a changed member set is named as such, not the step that needs it', () => {
  const { log } = sample()
  const says = (change: (l: ApprovalLog) => void, message: RegExp) => {
    const copy = structuredClone(log)
    change(copy)
    assert.throws(() => verifyLog(encodeLog(copy)), message)
  }
  const later = /^ZosError: Verify approval log: member set of epoch 2: the signature of member \d is not by/
  says((l) => Object.assign(l.sets[1]!.set.members[0]!, { weight: 2 }), later)
  says((l) => Object.assign(l.sets[1]!.signatures[0]!, { signature: `0x${'11'.repeat(65)}` }), later)
  says((l) => Object.assign(l, { chainId: 1 }), /the chain, the contract or the founding set is not the one/)
  says(
    (l) => Object.assign(l.approvals[1]!.transition, { set: root(5) }),
    /step 2: the approval is of another member set of epoch 2; the group is at epoch 2$/,
  )
})

test('a log with anything added, cut inside, reordered or written differently is refused', () => {
  const { log, text } = sample()
  for (let i = 0; i < text.length; i += 7) assert.throws(() => verifyLog(text.slice(0, i)), ZosError)
  assert.throws(() => verifyLog(`${text} `), /canonical/)
  assert.throws(() => verifyLog(text.replace('{', '{ ')), /canonical/)
  const bad = (change: (l: ApprovalLog) => void) => {
    const copy = structuredClone(log)
    change(copy)
    assert.throws(() => verifyLog(encodeLog(copy)), ZosError)
  }
  bad((l) => Object.assign(l, { note: 'hello' }))
  bad((l) => l.approvals.reverse())
  bad((l) => l.sets.reverse())
  bad((l) => l.sets.pop())
  bad((l) => l.approvals.shift())
  bad((l) => l.approvals[0]!.signatures.pop())
  bad((l) => l.approvals[1]!.freezes.push(...l.approvals[0]!.freezes))
  bad((l) => l.sets[0]!.signatures.push(...l.sets[1]!.signatures))
  // a heavier member, a lower threshold, another chain or contract: the digests no longer lead to the signatures
  bad((l) => Object.assign(l.sets[0]!.set.members[0]!, { weight: 2 }))
  bad((l) => Object.assign(l.sets[1]!.set.thresholds, { deploy: 1 }))
  bad((l) => Object.assign(l, { chainId: 1 }))
  bad((l) => Object.assign(l, { contract: `0x${'c1'.repeat(20)}` }))
  bad((l) => Object.assign(l.approvals[1]!.transition.slots[0]!, { blob: root(9) }))
  bad((l) => l.approvals.splice(1, 0, l.approvals[0]!))
  bad((l) => l.approvals[0]!.signatures.push({ member: 55, signature: `0x${'11'.repeat(65)}` }))
})

test('a file that is no log any more says which part is not what was signed', () => {
  const changed = (approvals: unknown) =>
    JSON.stringify({
      format: 'zos-approval-log/1',
      chainId: 1,
      contract: domain.contract,
      sets: [{ set: team.set, signatures: [] }],
      approvals,
    })
  const t = step(team, none, 'deploy', spec(1))
  const entry = { transition: t, signatures: sign(team, t, [alice, bob]), freezes: [] }
  const bad: [unknown, RegExp][] = [
    ['none', /at "approvals": it is missing, or not as a log has it; this is not what was signed/],
    [
      [entry, { ...entry, transition: { ...t, version: '2' } }],
      /at "approvals\.1\.transition\.version" \(step 2\): it is/,
    ],
    [[{ ...entry, by: 'eve' }], /at "approvals\.0" \(step 1\): it has "by", which nobody signs; this is not what was/],
  ]
  for (const [approvals, message] of bad)
    assert.throws(() => verifyLog(changed(approvals)), { code: 'bad-log', message })
  // nor do its own bytes break the line, or steer the terminal it is said on
  for (const text of ['{"a":_\n}\n', '{"a":\u001b[2J}', changed([{ ...entry, 'x\n\u001b[2J': 1 }])])
    assert.throws(() => verifyLog(text), { code: 'bad-log', message: /^\P{Cc}*$/u })
})
