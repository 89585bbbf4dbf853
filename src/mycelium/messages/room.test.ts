// Whoever sends more than is fetched takes the place of nobody else's messages.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { createInbox } from './inbox.ts'
import { openSpool } from './spool.ts'

const MIB = 1 << 20
const [one, other] = ['ab'.repeat(32), 'cd'.repeat(32)] as [string, string]

test('of what is coming in a sender leaves others a part, and of senders that say nothing more there are not too many', async () => {
  const counted: Record<string, number> = {}
  const inbox = createInbox({
    allowed: () => true,
    hasRoom: () => true,
    keep: async () => {},
    count: (name) => {
      counted[name] = (counted[name] ?? 0) + 1
    },
  })
  let n = 0
  const begins = (publicKey: string, length: number) => {
    const id = (n++).toString(16).padStart(16, '0')
    const topic = Buffer.alloc(0)
    return inbox.receive(
      { address: Buffer.alloc(16, 4), publicKey },
      { kind: 'init', id, ack: false, reply: false, length, topic },
      0,
    )
  }
  for (const length of [8, 8, 8]) assert.ok(await begins(one, length * MIB))
  assert.ok(!(await begins(one, 7 * MIB)))
  assert.ok(await begins(other, 4 * MIB))
  for (let sender = 0; sender < 2_000; sender++) await begins(sender.toString(16).padStart(64, '0'), 0)
  assert.equal(counted['inbox-full'], 1 + 4 + 2_000 - 1_024)
  inbox.tick(61_000)
  assert.ok(!inbox.isBusy)
})

test('of what waits to be fetched as well', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-spool-'))
  t.after(() => rm(dir, { recursive: true }))
  const spool = await openSpool(dir)
  const kept = { reply: false, srcIp: '', srcPk: one, dstIp: '', dstPk: '', topic: '', size: 8 * MIB }
  // the size is what counts: nothing of it need be there
  for (let n = 1; n <= 6; n++) {
    assert.ok(spool.hasRoom(kept.size, one), `${n} messages`)
    await spool.put({ ...kept, id: `${n}`.padStart(16, '0') }, Buffer.alloc(0))
  }
  assert.ok(!spool.hasRoom(kept.size, one))
  assert.ok(spool.hasRoom(kept.size, other))
})
