// Members of every kind: keys, passkeys (P-256, WebAuthn) and contract wallets; weights and roles; what a node believes.
import assert from 'node:assert/strict'
import test from 'node:test'
import { p256 } from '@noble/curves/nist.js'
import {
  approve,
  createGroup,
  draftTransition,
  exportLog,
  freeze,
  listProposals,
  propose,
  readConsent,
  readDeployment,
} from './actions/index.ts'
import { send } from './actions/relayer.ts'
import { verifyLog } from './approval/log.ts'
import type { Key } from './keys/keys.ts'
import { passkeyOf } from './keys/passkey.ts'
import { sayOf, WALLET } from './testing/wallet.ts'
import { openWorld, refusal, root, slot, type World } from './testing/world.ts'
import { canonicalSignature, passkeySigner, signedBy, signerOf } from './typed/passkey.ts'
import { ROLE } from './typed/schema.ts'

type Hex = `0x${string}`

const secret = (n: number) => new Uint8Array(32).fill(n)
const hex = (b: Uint8Array): Hex => `0x${Buffer.from(b).toString('hex')}`

/** Proposes DRAFT by the first and approves it by the others; the last one completes it. */
async function agree(w: World, group: Hex, name: string, kind: 'deploy' | 'update' | 'thaw', by: Key[], version = 1) {
  const consent = await readConsent(w.grid, group, name)
  const draft = kind === 'thaw' ? {} : { specRoot: root(version), slots: [slot(0, 1)] }
  const transition = draftTransition(consent.group, consent.state, kind, draft)
  const { id } = await propose(w.grid, w.relayer, by[0]!, { transition })
  for (const key of by.slice(1)) await approve(w.grid, w.relayer, key, group, id)
}

test('passkeys approve on chain and offline: two of three, without any secp256k1 key', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  await w.node('n')
  const { domain } = w.grid
  const raw = p256.getPublicKey(secret(3), false).subarray(1)
  const device: Key = {
    ...passkeyOf('device', secret(3)),
    address: passkeySigner(domain, 'p256', hex(raw)),
    sign: (digest) => hex(p256.sign(Buffer.from(digest.slice(2), 'hex'), secret(3), { prehash: false, lowS: true })),
  }
  const [phone, laptop] = [passkeyOf('phone', secret(1)), passkeyOf('laptop', secret(2))]
  const keys = [phone, laptop, device]
  const { group } = await createGroup(w.grid, w.relayer, {
    members: keys.map((k) => ({ address: signerOf(domain, k.address), seal: k.seal })),
    threshold: 2,
  })
  await agree(w, group, 'web', 'deploy', [phone, device])
  await freeze(w.grid, w.relayer, laptop, group, 'web')
  await agree(w, group, 'web', 'thaw', [laptop, phone])
  await agree(w, group, 'web', 'update', [device, laptop], 2)
  const { evidence } = await readConsent(w.grid, group, 'web')
  assert.equal(evidence, undefined, 'signatures were enough')
  const { state } = verifyLog(await exportLog(w.grid, group, 'web'))
  assert.deepEqual([state.version, state.sequence, state.status], [2, 3, 'active'])
})

test('a passkey’s signature has one form; each other byte of it is refused', () => {
  const domain = { chainId: 1, contract: `0x${'c0'.repeat(20)}` } as const
  const phone = passkeyOf('phone', secret(1))
  const signer = signerOf(domain, phone.address)
  const digest = root(7)
  const good = phone.sign(digest)
  assert.ok(signedBy(domain, signer, digest, good))
  assert.ok(!signedBy(domain, signer, root(8), good))
  assert.ok(!signedBy({ ...domain, contract: `0x${'c1'.repeat(20)}` }, signer, digest, good), 'another contract')
  assert.ok(!signedBy(domain, signerOf(domain, passkeyOf('x', secret(2)).address), digest, good))
  const bytes = Buffer.from(good.slice(2), 'hex')
  for (let i = 0; i < bytes.length; i++) {
    const bad = Buffer.from(bytes)
    bad[i]! ^= 1
    assert.ok(!signedBy(domain, signer, digest, hex(bad)), `byte ${i}`)
    assert.ok(!signedBy(domain, signer, digest, hex(bytes.subarray(0, i))), `cut at ${i}`)
  }
  // a form that the contract takes as well is brought back to the one form
  const longer = `${good}00` as Hex
  assert.ok(!signedBy(domain, signer, digest, longer))
  assert.equal(canonicalSignature(domain, signer, longer), good)
  // no user verification, no presence: refused as the contract does
  for (const flags of [0x00, 0x01, 0x04, 0x15]) {
    const bad = Buffer.from(bytes)
    bad[bytes.indexOf(Buffer.from('05', 'hex'), 0x100)] = flags
    assert.ok(!signedBy(domain, signer, digest, hex(bad)))
  }
})

test('a contract wallet counts with a proven state alone, and offline the log says so', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  await w.node('n')
  const wallet = (await send(grid.engine, relayer, { data: WALLET })).contract!.toLowerCase() as Hex
  const say = (digest: Hex, yes: boolean) => send(grid.engine, relayer, { to: wallet, data: sayOf(digest, yes) })
  const { group } = await createGroup(grid, relayer, {
    members: [{ address: wallet }, { address: members.alice.address }, { address: members.bob.address }],
    threshold: 2,
  })
  /** Whoever acts for the wallet; what it signs is what the wallet was told. */
  const treasury: Key = { ...members.carol, address: wallet, sign: () => `0x${'00'.repeat(64)}` }
  const { group: state, state: none } = await readConsent(grid, group, 'web')
  const transition = draftTransition(state, none, 'deploy', { specRoot: root(1), slots: [slot(0, 1)] })
  const { id } = await propose(grid, relayer, members.alice, { transition })
  assert.match(await refusal(approve(grid, relayer, treasury, group, id)), /contract-BadSignature/)
  await say(id, true)
  await approve(grid, relayer, treasury, group, id)
  const { state: after, evidence } = await readConsent(grid, group, 'web')
  assert.deepEqual([after.version, evidence?.contracts.has(wallet), evidence?.taken.has(id)], [1, true, true])
  // the wallet changes its mind: the step it agreed to stays agreed to, for the proven state has it
  await say(id, false)
  assert.equal((await readConsent(grid, group, 'web')).state.version, 1)
  const text = await exportLog(grid, group, 'web')
  assert.throws(() => verifyLog(text), /if it is a contract, only the proven state of its chain can tell/)
  // evidence lets no key be forged: its account has no code
  const forged = text.replace(/"signature":"0x(?!00)[0-9a-f]{130}"/, `"signature":"0x${'22'.repeat(65)}"`)
  assert.notEqual(forged, text)
  assert.throws(() => verifyLog(forged, evidence), /is not by/)
  // a proposal it proposes itself, and its stop
  const next = draftTransition(state, after, 'update', { specRoot: root(2), slots: [slot(0, 1)] })
  const said = await refusal(propose(grid, relayer, treasury, { transition: next }))
  assert.match(said, /contract-BadSignature/)
})

test('weights and roles: a heavy member, a member who may only stop, one who may only read', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer } = w
  const { alice, bob, carol } = w.members
  await w.node('n')
  const { group } = await createGroup(grid, relayer, {
    members: [
      { address: alice.address, weight: 2 },
      { address: bob.address, roles: ROLE.approve },
      { address: carol.address, roles: ROLE.stop, weight: 0 },
      { address: w.owner.address, roles: ROLE.read, weight: 0 },
    ],
    threshold: { deploy: 2, control: 3, wipe: 3, membership: 3 },
  })
  await agree(w, group, 'web', 'deploy', [alice])
  assert.equal((await readDeployment(grid, group, 'web')).version, 1, 'one of weight 2 is enough')
  assert.match(await refusal(freeze(grid, relayer, bob, group, 'web')), /contract-NotAMember/)
  assert.match(await refusal(freeze(grid, relayer, w.owner, group, 'web')), /contract-NotAMember/)
  await freeze(grid, relayer, carol, group, 'web')
  assert.match(await refusal(agree(w, group, 'web', 'thaw', [carol])), /may not approve/)
  await agree(w, group, 'web', 'thaw', [bob])
  assert.deepEqual(
    (await listProposals(grid, group)).map((p) => [p.kind, p.approvals, p.needs]),
    [['thaw', 1, 3]],
    'thawing needs more here than deploying',
  )
  const [open] = await listProposals(grid, group)
  await approve(grid, relayer, alice, group, open!.id)
  assert.equal((await readDeployment(grid, group, 'web')).frozen, false)
  assert.equal((await readConsent(grid, group, 'web')).state.sequence, 2)
})
