import assert from 'node:assert/strict'
import test from 'node:test'
import type { ApprovalLog, PublicKey } from '#contract'
import { logText } from './log.ts'

test('who signed is named: by the key of this home, else by address, from the set of that epoch', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((x): `0x${string}` => `0x${x.repeat(40)}`)
  const set = (epoch: number, ...signers: unknown[]) => ({
    set: { epoch, members: signers.map((signer) => ({ signer })) },
  })
  const step = (sequence: number, epoch: number, ...members: number[]) => ({
    transition: { sequence, kind: 'update', version: sequence, epoch },
    signatures: members.map((member) => ({ member })),
    freezes: sequence === 1 ? [] : [{ freeze: { epoch, until: 0 }, signature: { member: 0 } }],
  })
  const log = { sets: [set(1, a, b), set(2, c, b)], approvals: [step(1, 1, 0, 1), step(2, 2, 0, 9)] }
  const keys = [
    { name: 'alice', address: a },
    { name: 'carol', address: c },
  ] as PublicKey[]
  assert.equal(
    logText(log as unknown as ApprovalLog, keys),
    `1  update  version 1, epoch 1, signed by alice, ${b}\n` +
      '2  update  version 2, epoch 2, signed by carol, member 9\n' +
      '   frozen by carol until 1970-01-01T00:00:00.000Z\n',
  )
})
