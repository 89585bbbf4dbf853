// A peer that tells of thousands of subnets and leaves takes no other peer's connection with it.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'node:test'
import { freePort, until } from '#sys'
import { addressOf, subnetOf } from '../address.ts'
import { encodeControl } from '../wire/control.ts'
import { Daemon } from './daemon.ts'

/** Told of at once, more than a connection's queues hold. */
const SUBNETS = 12_000
const hello = encodeControl({ type: 'hello', unicast: true, seqno: 1, interval: 30_000 })

function update(): Buffer {
  const key = randomBytes(32)
  const prefix = { bytes: subnetOf(addressOf(key)), length: 64 }
  const routerId = `${key.toString('hex')}${'0'.repeat(16)}`
  return encodeControl({ type: 'update', interval: 30_000, seqno: 0, metric: 0, prefix, routerId })
}

test('one that announces twelve thousand subnets and leaves: its neighbours stay connected', async (t) => {
  const port = await freePort()
  await using daemon = await Daemon.start({
    secret: randomBytes(32),
    listen: [{ scheme: 'tcp', ip: '127.0.0.1', port }],
    peers: [],
  })
  const dial = async () => {
    const socket = connect({ host: '127.0.0.1', port }).on('error', () => {})
    await once(socket, 'connect')
    socket.resume()
    // whoever answers nothing is not used
    const talk = setInterval(() => socket.destroyed || socket.write(hello), 200)
    t.after(() => {
      clearInterval(talk)
      socket.destroy()
    })
    return socket
  }
  const neighbour = await dial()
  const restless = await dial()
  const routes = async (wanted: (n: number) => boolean) => wanted((await daemon.status()).routes as number)
  const updates = Buffer.concat(Array.from({ length: SUBNETS }, update))
  restless.write(updates)
  await until('it to know them', 30_000, () => routes((n) => n === SUBNETS))
  restless.destroy()
  await until('it to know none', 30_000, () => routes((n) => n === 0))
  const peers = await daemon.peers()
  assert.deepEqual((await daemon.status()).faults, {})
  assert.deepEqual(
    peers.map(({ endpoint }) => endpoint),
    [`tcp://127.0.0.1:${neighbour.localPort}`],
  )
})
