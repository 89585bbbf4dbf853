// Whoever takes all places of inbound peers for itself keeps nobody else out.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { callUnix, freePort, sleep, until } from '#sys'
import { createKeyFile } from '../identity.ts'
import { encodeControl } from '../wire/control.ts'
import { Daemon } from './daemon.ts'
import { hostOf } from './peers.ts'

const PLACES = 512
const hello = encodeControl({ type: 'hello', unicast: true, seqno: 1, interval: 30_000 })

test('an IPv6 host has its /64, one on a local link only its address there', () => {
  const host = (ip: string, scope?: number) => hostOf({ ip, port: 1, ...(scope ? { scope } : {}) })
  assert.equal(host('2001:db8::1'), host('2001:db8::2:3'))
  const different = ['2001:db8::1', '2001:db8:0:1::1', '192.0.2.1', '192.0.2.2'].map((ip) => host(ip))
  different.push(host('fe80::1', 1), host('fe80::2', 1), host('fe80::1', 2))
  assert.equal(new Set(different).size, different.length)
})

test('of all places of inbound peers one host keeps as many as others leave it, and its newest goes first', {
  timeout: 180_000,
}, async (t) => {
  const port = await freePort()
  const listen = [{ scheme: 'tcp' as const, ip: '127.0.0.1', port }]
  const daemon = await Daemon.start({ secret: randomBytes(32), listen, peers: [] })
  const sockets: Socket[] = []
  // who says nothing for long is given up
  const talk = setInterval(() => {
    for (const socket of sockets) if (!socket.destroyed) socket.write(hello)
  }, 10_000)
  t.after(async () => {
    clearInterval(talk)
    for (const socket of sockets) socket.destroy()
    await daemon[Symbol.asyncDispose]()
  })
  const dial = async (localAddress: string) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress }).on('error', () => {})
    sockets.push(socket)
    await once(socket, 'connect')
    socket.resume().write(hello)
    return socket
  }
  const from = async (ip: string) =>
    (await daemon.peers()).filter(({ endpoint }) => endpoint.startsWith(`tcp://${ip}:`)).length
  for (let i = 0; i < PLACES; i++) await dial('127.0.0.1')
  await until('all places to be taken', 20_000, async () => (await from('127.0.0.1')) === PLACES)
  // no place for one more of the same
  const more = await dial('127.0.0.1')
  await until('it to be refused', 20_000, () => more.closed)

  for (let i = 1; i <= 3; i++) {
    await dial('127.0.0.2')
    await until('the other host to have a place', 20_000, async () => (await from('127.0.0.2')) === i)
  }
  assert.equal(await from('127.0.0.1'), PLACES - 3)
  // which the daemon has closed; that reaches the one who dialled a little later
  await until('the newest of the first host to be closed', 20_000, () =>
    isDeepStrictEqual(
      sockets.slice(0, PLACES).flatMap((socket, i) => (socket.destroyed ? [i] : [])),
      [PLACES - 3, PLACES - 2, PLACES - 1],
    ),
  )
  assert.equal(((await daemon.status()).faults as Record<string, number>)['too-many-inbound'], 4)
})

test('a node that has no descriptor left for who dials it waits until it has one, and does not spin meanwhile', {
  timeout: 180_000,
}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-crowd-'))
  const [key, api] = [join(dir, 'a.key'), join(dir, 'a.sock')]
  await createKeyFile(key)
  const port = await freePort()
  const run = `run --key-file ${key} --listen tcp://127.0.0.1:${port} --api unix:${api} --no-discovery`
  const command = `ulimit -n 90; exec ${resolve(import.meta.dirname, '../../../zos')} mycelium ${run}`
  const child = spawn('sh', ['-c', command], { stdio: 'ignore' })
  const sockets: Socket[] = []
  t.after(() => {
    child.kill('SIGKILL')
    for (const socket of sockets) socket.destroy()
    rmSync(dir, { recursive: true, force: true })
  })
  type Status = { faults: Record<string, number>; peersUp: number }
  const status = () => callUnix<Status>(api, 'GET', '/status').catch(() => undefined)
  await until('it to run', 30_000, status)
  const closed: Promise<unknown>[] = []
  for (let i = 0; i < 120; i++) {
    const socket = connect({ host: '127.0.0.1', port }).on('error', () => {})
    sockets.push(socket)
    closed.push(once(socket, 'connect'))
    socket.resume().write(hello)
  }
  await Promise.all(closed)
  await until('it to have none left', 30_000, () => readdirSync(`/proc/${child.pid}/fd`).length >= 90)
  await sleep(1_000)
  for (const socket of sockets.slice(0, 60)) socket.destroy()
  const rest = await until('those who waited', 20_000, async () => {
    const now = await status()
    return now?.peersUp === 60 ? now : undefined
  })
  // some a second, and thousands where it spins
  const tries = rest.faults['not-accepted'] ?? 0
  assert.ok(tries > 0 && tries < 1_000, `${tries} tries`)
})
