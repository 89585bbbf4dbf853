import assert from 'node:assert/strict'
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { places } from '#wire'
import { daemonCall, pathOf } from './daemon.ts'

const answer = (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n"ok"')

test('a question to a daemon that ends is asked of the next one; an order is not given twice', async () => {
  const work = mkdtempSync(join(tmpdir(), 'zos-test-'))
  process.env.ZOS_HOME = join(work, 'home')
  const { api } = places()
  mkdirSync(dirname(api), { recursive: true })
  let asked = 0
  const server = createServer((socket) => {
    // the first of each two connections is cut as it is when a daemon is killed: in the middle of the request
    socket.on('error', () => {}).once('data', () => (asked++ % 2 === 0 ? socket.destroy() : answer(socket)))
  })
  await new Promise<void>((resolve) => server.listen(api, resolve))
  try {
    assert.equal(await daemonCall('GET', '/ping'), 'ok')
    assert.equal(asked, 2)
    await assert.rejects(daemonCall('POST', '/workloads'), /ECONNRESET|it closed the connection/)
    assert.equal(asked, 3)
  } finally {
    server.close()
    rmSync(work, { recursive: true })
    rmSync(dirname(api), { recursive: true, force: true })
  }
})

test('what is no name is said to be none, and leads nowhere else', () => {
  for (const name of ['', '.', '..']) assert.throws(() => pathOf('workloads', name), { code: 'usage' }, name)
  assert.throws(() => pathOf('volumes', ''), { message: /^Find volume "": .* "zos volume ls" lists/ })
  assert.equal(pathOf('images', '127.0.0.1:5000/a/../b:1'), '/images/127.0.0.1%3A5000%2Fa%2F..%2Fb%3A1')
})

const notRoot = process.getuid?.() !== 0 && 'giving a folder away needs root'
test('a folder of sockets that is not our own is not talked to', { skip: notRoot }, async () => {
  const work = mkdtempSync(join(tmpdir(), 'zos-test-'))
  process.env.ZOS_HOME = join(work, 'home')
  const { api, run } = places()
  mkdirSync(run)
  chownSync(run, 1, 1)
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(api, resolve))
  try {
    await assert.rejects(daemonCall('GET', '/ping'), { code: 'run-not-own' })
    chownSync(run, 0, 0)
    assert.equal(await daemonCall('GET', '/ping'), 'ok')
  } finally {
    server.close()
    rmSync(work, { recursive: true })
    rmSync(run, { recursive: true, force: true })
  }
})
