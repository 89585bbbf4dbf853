import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { serveUnix } from '#sys'
import { Frame, open, writeFrame } from '#wire'
import { framed } from './framed.ts'

const dir = mkdtempSync(join(tmpdir(), 'zos-framed-'))
after(() => rmSync(dir, { recursive: true }))

test('a command that is gone is noticed while nothing is written to it', { timeout: 120_000 }, async (t) => {
  const begun = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<void>()
  const serve = framed(async (stream) => {
    stream.on('close', closed.resolve)
    begun.resolve()
    await closed.promise
  })
  const path = join(dir, 'api.sock')
  const server = await serveUnix(path, { upgrades: { 'POST /stream': serve } })
  t.after(() => server.close())
  const socket = await open(path, '/stream')
  writeFrame(socket, Frame.request, {})
  await begun.promise
  socket.destroy()
  await once(socket, 'close')
  await closed.promise
})
