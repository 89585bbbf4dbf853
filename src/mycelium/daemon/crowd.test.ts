// Whoever takes all places of inbound peers for itself keeps nobody else out.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import test from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { freePort, until } from '#sys'
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
  timeout: 60_000,
}, async (t) => {
  const port = await freePort()
  const listen = [{ scheme: 'tcp' as const, ip: '127.0.0.1', port }]
  const daemon = await Daemon.start({ secret: randomBytes(32), listen, peers: [] })
  const sockets: Socket[] = []
  t.after(async () => {
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
