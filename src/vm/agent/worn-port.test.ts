// QEMU keeps one of the guest's 128 send buffers each time a host ends that did not read (virtio-serial-bus.c,
// discard_throttle_data), as a daemon does that is killed. Without help the guest says nothing more after 128 of them.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { until } from '#sys'
import { COLD_BOOT } from './ask.fixture.ts'
import { connectAgent } from './client.ts'
import { encodeFrame, FILLER, Frame, MAGIC, NONCE, RING } from './protocol.ts'
import { bootVm, makeRoot, missing, processOf, startSpec } from './vm.fixture.ts'

const LAST = 400_000
const SKIP = missing() ?? (process.env.ZOS_NIGHTLY === '1' ? false : 'hundreds of hosts take long; ZOS_NIGHTLY=1')

/** Says hello, hears the first bytes of the answer, and ends while the rest is held up for it. */
async function endUnread(path: string): Promise<void> {
  const hello = Buffer.concat([MAGIC, randomBytes(NONCE), Buffer.from([1, 0, 0, 0]), Buffer.alloc(8)])
  const closed = Promise.withResolvers<void>()
  const heard = new Promise<void>((done) => {
    const socket = connect({
      path,
      onread: {
        buffer: Buffer.alloc(16),
        callback: () => {
          // what the guest keeps of its output is more than the socket takes
          setTimeout(() => socket.destroy(), 40)
          done()
          return false
        },
      },
    })
    socket.on('error', () => {})
    socket.on('close', () => closed.resolve())
    socket.write(Buffer.concat([Buffer.alloc(FILLER), encodeFrame(Frame.hello, 0, hello)]))
    // as one that is killed before it heard anything
    setTimeout(() => socket.destroy(), 3000).unref()
  })
  await Promise.race([heard, closed.promise])
  await closed.promise
}

test('300 hosts end while they are written to: the agent answers, and no output is missing or doubled', {
  skip: SKIP,
  timeout: 600_000,
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-worn-'))
  try {
    const root = await makeRoot(dir)
    await using vm = await bootVm(join(dir, 'a'), root)
    let agent = await connectAgent(vm.socket, { fresh: true, timeout: COLD_BOOT })
    await agent.start(startSpec(root, processOf('seq', '1', String(LAST))))
    await agent[Symbol.asyncDispose]()

    let text = ''
    /** A host that has everything up to here, and acknowledges what more it reads. */
    const takeOver = async () => {
      agent = await connectAgent(vm.socket, {
        resumeFrom: text.length,
        onOutput: ({ offset, data }) => {
          assert.equal(offset, text.length)
          text += data.toString('latin1')
          agent.ack(text.length)
        },
      })
    }
    for (let n = 1; n <= 300; n++) {
      await endUnread(vm.socket)
      if (n % 60 > 0) continue
      const want = text.length + RING
      await takeOver()
      await until('more output', 60_000, () => text.length > want)
      await agent[Symbol.asyncDispose]()
    }
    const renewals = (await vm.console()).split('it is made anew').length - 1
    assert.ok(renewals > 0, 'no host took a buffer with it: this test showed nothing')
    await takeOver()
    assert.equal((await agent.exited).code, 0)
    assert.equal(text, Array.from({ length: LAST }, (_, n) => `${n + 1}\n`).join(''))
    assert.ok((await agent.stats()).agentRss < 2 << 20, 'it has not grown either')
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
