import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import test from 'node:test'
import { Frame, readFrames } from '#wire'
import { attach } from './attach.ts'

/** What a command sends on a line that only listens. */
function line(): { socket: Socket; sent: [number, string][] } {
  const socket = new PassThrough() as unknown as Socket
  const sent: [number, string][] = []
  const write = socket.write.bind(socket)
  const told = new PassThrough()
  readFrames(told, (type, payload) => void sent.push([type, String(payload)]))
  // a PassThrough would give us back what we say
  socket.write = ((bytes: Buffer) => told.write(bytes)) as typeof write
  return { socket, sent }
}

test('an interrupt ends a command that only reads, and is the program’s where one is run', async () => {
  const before = process.listenerCount('SIGINT')
  const reading = line()
  const read = attach(reading.socket, {}, { input: false, tty: false })
  assert.equal(process.listenerCount('SIGINT'), before, 'Ctrl-C ends "zos logs -f"')
  reading.socket.destroy()
  await assert.rejects(read, /the node daemon went away/)

  const { socket, sent } = line()
  const run = attach(socket, {}, { input: false, tty: false, signals: true })
  process.emit('SIGINT', 'SIGINT')
  process.emit('SIGHUP', 'SIGHUP')
  process.emit('SIGINT', 'SIGINT')
  assert.equal(await Promise.race([run, new Promise((r) => setTimeout(r, 20, 'goes on'))]), 'goes on')
  assert.deepEqual(
    sent.filter(([type]) => type === Frame.signal).map(([, said]) => JSON.parse(said).signal),
    ['SIGINT', 'SIGHUP', 'SIGINT'],
  )
  process.emit('SIGINT', 'SIGINT')
  assert.equal(await run, 130)
  assert.equal(process.listenerCount('SIGINT'), before)
})
