import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect, createServer, type Server, type Socket } from 'node:net'
import test, { type TestContext } from 'node:test'
import { freePort, until } from '#sys'
import { Daemon } from './daemon.ts'
import type { PrivateNetwork } from './network-key.ts'

const key = randomBytes(32)
const home: PrivateNetwork = { name: 'home', key }

async function node(t: TestContext, network: PrivateNetwork | undefined, port: number, listens: boolean) {
  const endpoint = { scheme: network ? ('tls' as const) : ('tcp' as const), ip: '127.0.0.1', port }
  const daemon = await Daemon.start({
    secret: randomBytes(32),
    listen: listens ? [endpoint] : [],
    peers: listens ? [] : [endpoint],
    ...(network ? { network } : {}),
  })
  t.after(() => daemon[Symbol.asyncDispose]())
  return daemon
}

const peerOf = async (daemon: Daemon) => (await daemon.peers())[0]
const isUp = async (daemon: Daemon) => (await peerOf(daemon))?.state === 'up'
const faults = async (daemon: Daemon) => (await daemon.status()).faults as Record<string, number>

test('nodes with the same name and key are peers, over TLS; other keys, other names and none are refused, counted and told why', async (t) => {
  const port = await freePort()
  const listener = await node(t, home, port, true)
  const friend = await node(t, home, port, false)
  await until('the friend is up', 20_000, () => isUp(friend))
  assert.equal((await peerOf(friend))?.endpoint, `tls://127.0.0.1:${port}`)
  await until('routes', 20_000, async () => (await friend.routes()).length === 1)
  const otherKey = await node(t, { name: 'home', key: randomBytes(32) }, port, false)
  const otherName = await node(t, { name: 'away', key }, port, false)
  const plain = await node(t, undefined, port, false)
  for (const stranger of [otherKey, otherName]) {
    await until('refused', 20_000, async () => (await peerOf(stranger))?.lastError != null)
    assert.equal(await isUp(stranger), false)
    assert.match((await peerOf(stranger))!.lastError!, /^[a-z][ -~]{0,100}; has it the same network name and key\?$/i)
  }
  await until('counted', 20_000, async () => ((await faults(listener))['not-of-this-network'] ?? 0) >= 3)
  for (const stranger of [otherKey, otherName, plain]) assert.deepEqual(await stranger.routes(), [])
  assert.equal((await listener.peers()).length, 1)
})

test('who says nothing, rubbish, or goes away in the middle holds no connection', async (t) => {
  const port = await freePort()
  const sockets = new Set<Socket>()
  const answers = [Buffer.alloc(0), randomBytes(500), undefined]
  let n = 0
  const server: Server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    const answer = answers[n++ % 3]
    if (answer) socket.write(answer)
    else socket.destroy()
  }).listen(port, '127.0.0.1')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const caller = await node(t, home, port, false)
  await until('three tries', 30_000, () => n >= 4)
  assert.equal(await isUp(caller), false)
  assert.ok((await peerOf(caller))?.lastError)
})

test('whoever has not the key keeps nobody out who has it, however many handshakes it begins', async (t) => {
  const port = await freePort()
  const listener = await node(t, home, port, true)
  const member = await node(t, home, port, false)
  await until('a member is up', 20_000, () => isUp(member))
  const sockets: Socket[] = []
  let ended = 0
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let i = 0; i < 600; i++) {
    const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' })
    sockets.push(
      socket
        .on('error', () => {})
        .once('close', () => ended++)
        .resume(),
    )
  }
  await until('all but those of one host to be refused', 20_000, async () => {
    const refused = (await faults(listener))['too-many-handshakes'] ?? 0
    return refused >= 550 && ended >= 550
  })
  const late = await node(t, home, port, false)
  await until('another member is up', 20_000, () => isUp(late))
  assert.equal(await isUp(member), true)
  assert.equal((await faults(listener))['too-many-inbound'], undefined)
})
