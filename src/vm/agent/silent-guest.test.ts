// A guest whose first answers are lost: as QEMU does it to the successor of a host that was killed while it was written to.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { connectAgent } from './client.ts'
import { encodeFrame, FILLER, Frame, MAGIC, NONCE, putU64, VERSION } from './protocol.ts'

const STATE = { version: VERSION, phase: 'running', pid: 7, from: 3, to: 6, stdinCredit: 0 }

function output(offset: number, text: string): Uint8Array {
  const payload = new Uint8Array(8 + text.length)
  putU64(payload, 0, offset)
  payload[7] = 1
  payload.set(Buffer.from(text), 8)
  return encodeFrame(Frame.output, 0, payload)
}

/** A guest that leaves the first LOST hosts without an answer. */
async function guest(lost: number) {
  const dir = mkdtempSync(join(tmpdir(), 'zos-silent-'))
  const hosts: { socket: Socket; said: Buffer }[] = []
  const server = createServer((socket) => {
    const host = { socket: socket.on('error', () => {}), said: Buffer.alloc(0) }
    const silent = hosts.push(host) <= lost
    socket.on('data', (bytes: Buffer) => {
      host.said = Buffer.concat([host.said, bytes])
      const at = host.said.indexOf(MAGIC)
      const nonce = host.said.subarray(at + MAGIC.length, at + MAGIC.length + NONCE)
      if (silent || at < 0 || nonce.length < NONCE) return
      socket.removeAllListeners('data')
      socket.resume()
      const ack = encodeFrame(Frame.helloAck, 0, Buffer.concat([nonce, Buffer.from(JSON.stringify(STATE))]))
      socket.write(Buffer.concat([ack, output(3, 'end')]))
    })
  })
  const socket = join(dir, 's')
  await new Promise<void>((done) => server.listen(socket, done))
  return {
    socket,
    hosts,
    async [Symbol.asyncDispose]() {
      for (const host of hosts) host.socket.destroy()
      await new Promise((done) => server.close(done))
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

test('a hello that is not answered is said again on a new connection; output comes once, behind the agent', {
  timeout: 180_000,
}, async () => {
  await using silent = await guest(1)
  const got: string[] = []
  const whole = Promise.withResolvers<void>()
  let returned = false
  await using agent = await connectAgent(silent.socket, {
    fresh: true,
    resumeFrom: 3,
    onOutput: ({ offset, data }) => {
      got.push(`${offset} ${data}`)
      assert.ok(returned, 'who called has no agent yet, and cannot acknowledge')
      whole.resolve()
    },
  })
  returned = true
  assert.equal(agent.state.pid, 7)
  await whole.promise
  assert.deepEqual(got, ['3 end'])
  const [first, second] = silent.hosts
  assert.equal(silent.hosts.length, 2)
  assert.ok(first!.socket.destroyed || first!.socket.readableEnded, 'the first connection was let go of')
  assert.notEqual(first!.said[0], 0, 'the first host since boot needs no filler')
  assert.equal(second!.said.indexOf(MAGIC), FILLER + 8, 'the second one cannot know how much of its words arrived')
})

test('one that never answers is given up after the time that was asked for, and by who loses patience', async () => {
  await using silent = await guest(Number.POSITIVE_INFINITY)
  await assert.rejects(connectAgent(silent.socket, { timeout: 300 }), /no answer within 0.3 s/)
  const abort = new AbortController()
  const given = connectAgent(silent.socket, { signal: abort.signal })
  setTimeout(() => abort.abort(), 20)
  await assert.rejects(given, /given up by the caller/)
  await assert.rejects(connectAgent(silent.socket, { signal: abort.signal }), /given up by the caller/)
})
