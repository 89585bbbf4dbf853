import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { codeOf } from '#codec'
import { callUnix, openUnix, serveUnix, sleep, writeAtomic } from '#sys'

const dir = mkdtempSync(join(tmpdir(), 'zos-http-'))
after(() => rmSync(dir, { recursive: true }))
const path = join(dir, 'api.sock')

test('what fails after a stream was opened ends it, and puts no words of HTTP into it', async (t) => {
  const late = {
    'POST /late': (_call: unknown, open: () => unknown) => {
      open()
      throw new Error('late')
    },
  }
  const server = await serveUnix(path, { upgrades: late })
  t.after(() => server.close())
  const stream = await openUnix(path, '/late')
  let got = ''
  stream.on('data', (bytes) => (got += bytes)).on('error', () => {})
  await once(stream, 'close')
  assert.equal(got, '')
})

test('a path that is not percent-encoded is the fault of whoever asks', async (t) => {
  const server = await serveUnix(path, { calls: { 'GET /things/:name': () => 1 } })
  t.after(() => server.close())
  assert.equal(await callUnix(path, 'GET', '/things/%41'), 1)
  await assert.rejects(callUnix(path, 'GET', '/things/%zz'), (error) => codeOf(error) === 'bad-path')
})

test('a socket is made in the place of a stale one, never of anything else', async (t) => {
  const [key, link, folder] = ['me.key', 'link', 'folder'].map((name) => join(dir, name)) as [string, string, string]
  writeFileSync(key, 'a secret')
  symlinkSync(key, link)
  mkdirSync(folder)
  for (const there of [key, link, folder]) {
    const served = serveUnix(there, {})
    void served.then((server) => t.after(() => server.close())).catch(() => {})
    await assert.rejects(served, /^ZosError: Listen on ".*": what is there is no socket; give another path/)
  }
  assert.equal(readFileSync(link, 'utf8'), 'a secret')
})

test('an answer that is no JSON is an error of the call', async (t) => {
  const server = createServer((socket) =>
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n{"a"')),
  )
  t.after(() => server.close())
  await once(server.listen(path), 'listening')
  await assert.rejects(callUnix(path, 'GET', '/'), (error) => codeOf(error) === 'bad-answer')
})

test('a file that cannot take its name leaves nothing behind', async () => {
  const taken = mkdtempSync(join(dir, 'taken-'))
  await assert.rejects(writeAtomic(taken, 'bytes'))
  assert.deepEqual(
    readdirSync(dir).filter((name) => name.endsWith('.tmp')),
    [],
  )
})

test('a refusal that is cut off is an error of whoever opens a stream, too', { timeout: 120_000 }, async (t) => {
  const server = createServer((socket) =>
    socket.once('data', () => socket.end('HTTP/1.1 400 Refused\r\ncontent-length: 100\r\n\r\n{"error"')),
  )
  t.after(() => server.close())
  await once(server.listen(path), 'listening')
  await assert.rejects(openUnix(path, '/stream'))
})

test('a stream that nobody opens is given up, and one that is open may be silent', async (t) => {
  const server = await serveUnix(path, {
    upgrades: {
      'POST /never': () => new Promise<void>(() => {}),
      'POST /silent': async (_call, open) => void open(),
    },
  })
  t.after(() => server.close())
  await assert.rejects(openUnix(path, '/never', null, 50), {
    code: 'deadline',
    message: /^POST \/never: no answer from/,
  })
  const silent = await openUnix(path, '/silent', null, 50)
  silent.on('error', () => {})
  await sleep(150)
  assert.equal(silent.destroyed, false)
  silent.destroy()
})
