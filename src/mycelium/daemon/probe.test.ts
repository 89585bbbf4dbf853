import assert from 'node:assert/strict'
import test from 'node:test'
import { icmpError } from '../wire/icmp.ts'
import { createProbes, type ProbeResult } from './probe.ts'

const address = (n: number) => Buffer.concat([Buffer.from([4, n]), Buffer.alloc(13), Buffer.from([1])])
const [own, there, elsewhere] = [1, 2, 3].map(address) as [Buffer, Buffer, Buffer]

/** An echo's answer, from FROM. */
function answerOf(request: Buffer, from: Buffer): Buffer {
  const answer = Buffer.from(request)
  from.copy(answer, 8)
  own.copy(answer, 24)
  answer[40] = 129
  return answer
}

test('an echo is answered by whom it went to, and by nobody else; errors quote whom it went to', () => {
  const sent: Buffer[] = []
  const said: ProbeResult[] = []
  const probes = createProbes(
    own,
    (packet) => sent.push(packet),
    () => null,
  )
  const ask = (to: Buffer) => probes.probe(to, 64, 1_000, (result) => said.push(result))
  const take = (packet: Buffer) => probes.intercept(packet, 0, packet.length)
  ask(there)
  assert.equal(take(answerOf(sent[0]!, elsewhere)), false)
  const other = Buffer.from(sent[0]!)
  elsewhere.copy(other, 24)
  assert.equal(take(icmpError(elsewhere, own, { type: 1, code: 0 }, other)), false)
  assert.equal(said.length, 0)
  assert.equal(take(answerOf(sent[0]!, there)), true)
  ask(there)
  assert.equal(take(icmpError(elsewhere, own, { type: 3, code: 0 }, sent[1]!)), true)
  assert.deepEqual(
    said.map(({ outcome }) => outcome),
    ['reply', 'error'],
  )
  ask(own)
  assert.equal(sent.length, 2)
  assert.equal(said.at(-1)?.outcome, 'reply')
})
