import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import test, { after } from 'node:test'
import { codeOf } from '#codec'
import { call, Frame, readFrames, sendFrame, writeFrame } from '#wire'

const dir = mkdtempSync(join(tmpdir(), 'zos-wire-'))
after(() => rmSync(dir, { recursive: true }))
const path = join(dir, 'api.sock')

test('an answer that is cut off is told as a daemon that went away', async (t) => {
  const server = createServer((socket) =>
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"pid":')),
  )
  t.after(() => server.close())
  await once(server.listen(path), 'listening')
  await assert.rejects(call(path, 'GET', '/ping'), (error) => codeOf(error) === 'daemon-closed')
})

test('a frame that its handler cannot take ends the stream, not the process', async (t) => {
  const server = createServer((socket) =>
    readFrames(
      socket.on('error', () => {}),
      (_, bytes) => JSON.parse(`${bytes}`),
    ),
  )
  t.after(() => server.close())
  await once(server.listen(path), 'listening')
  const socket: Socket = connect(path)
  writeFrame(socket, Frame.resize, 'no JSON')
  await once(socket.resume(), 'close')
})

test('whoever sends much waits for the other side, and leaves no listeners behind', async () => {
  const waiting: (() => void)[] = []
  const slow = new Duplex({ read() {}, write: (_bytes, _encoding, done) => void waiting.push(done) })
  const listeners = () => slow.eventNames().reduce((sum, name) => sum + slow.listenerCount(name), 0)
  const before = listeners()
  for (let n = 0; n < 20; n++) {
    const sent = sendFrame(slow, Frame.data, Buffer.alloc(100_000))
    assert.ok(sent)
    while (slow.writableLength > 0) {
      waiting.shift()?.()
      await new Promise(setImmediate)
    }
    await sent
  }
  assert.equal(listeners(), before)
  const last = sendFrame(slow, Frame.data, Buffer.alloc(100_000))
  slow.destroy()
  await last
  assert.equal(sendFrame(slow, Frame.data, 'x'), undefined)
})
