import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import test from 'node:test'
import { Frame, readFrames } from '#wire'
import { attach } from './attach.ts'
import exec from './exec.ts'
import run from './run.ts'

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

test('what is typed into no terminal is not given to one: -i and -t together are refused before anything begins', async () => {
  const { isTTY } = process.stdin
  process.stdin.isTTY = false
  try {
    for (const asked of [run(['-it', 'web']), run(['--rm', '-i', '-t', 'web', 'sh']), exec(['-ti', 'web', 'sh'])])
      await assert.rejects(asked, { code: 'no-terminal', message: /the input device is not a TTY/ })
  } finally {
    process.stdin.isTTY = isTTY
  }
})
