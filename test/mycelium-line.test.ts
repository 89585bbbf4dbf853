// The overlay between real network namespaces: a line of three whose middle only relays. Needs root and /dev/net/tun.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { createKeyFile, formatAddress, type Identity, type PeerStatus, type ProbeResult } from '#mycelium'
import { callUnix, run, tryRun, until } from '#sys'
import { noNamespaces, outputOf } from './overlay.ts'

const zos = resolve(import.meta.dirname, '../zos')
const skip = noNamespaces()

const work = mkdtempSync(join(tmpdir(), 'zos-line-'))
const prefix = `zl${process.pid % 10000}`
type Node = {
  name: string
  ns: string
  key: string
  api: string
  identity?: Identity
  child?: ChildProcess
  /** What it has said to whoever runs it. */
  log: string
}
const nodes = ['a', 'b', 'c'].map((name): Node => {
  return { name, ns: `${prefix}${name}`, key: join(work, `${name}.key`), api: join(work, `${name}.sock`), log: '' }
})
const [a, b, c] = nodes as [Node, Node, Node]

const ip = (...args: string[]) => run('ip', args)
const peersOf = { a: [], b: ['tcp://10.92.1.1:9651', 'tcp://10.92.2.2:9651'], c: [] } as Record<string, string[]>

function start(node: Node): void {
  const args = [
    'mycelium',
    'run',
    '--key-file',
    node.key,
    '--listen',
    'tcp://[::]:9651',
    '--tun',
    'zos0',
    '--no-discovery',
  ]
  const peers = peersOf[node.name]!.flatMap((peer) => ['--peer', peer])
  const command = [zos, ...args, '--api', `unix:${node.api}`, ...peers]
  node.child = spawn('ip', ['netns', 'exec', node.ns, ...command], { stdio: ['ignore', 'ignore', 'pipe'] })
  node.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    node.log += text
  })
}

async function stop(node: Node, signal: NodeJS.Signals): Promise<void> {
  const { child } = node
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((done) => child.once('exit', done))
  child.kill(signal)
  await gone
}

const addressOf = (node: Node) => formatAddress(node.identity!.address)
const ping = async (from: Node, to: string, ...args: string[]) =>
  tryRun('ip', ['netns', 'exec', from.ns, 'ping', '-6', '-W', '1', ...args, to])
const reaches = (from: Node, to: Node, seconds: number) =>
  until(`${from.name} to reach ${to.name}`, seconds * 1000, async () => {
    return (await ping(from, addressOf(to), '-c', '1')).code === 0
  })
const api = <T>(node: Node, method: string, path: string, body?: unknown) =>
  callUnix<T>(node.api, method, path, body === undefined ? {} : { body })
/** A program of ours takes its time to begin on a busy machine: what follows is about the overlay. */
const served = (node: Node) =>
  until(`the API of ${node.name}`, 60_000, () =>
    api(node, 'GET', '/status').then(
      () => true,
      () => false,
    ),
  )

before(async () => {
  if (skip) return
  for (const node of nodes) {
    node.identity = await createKeyFile(node.key)
    await ip('netns', 'add', node.ns)
    await ip('-n', node.ns, 'link', 'set', 'lo', 'up')
  }
  await ip('link', 'add', `${prefix}1`, 'netns', a.ns, 'type', 'veth', 'peer', 'name', `${prefix}2`, 'netns', b.ns)
  await ip('link', 'add', `${prefix}3`, 'netns', b.ns, 'type', 'veth', 'peer', 'name', `${prefix}4`, 'netns', c.ns)
  for (const [node, n, address] of [
    [a, 1, '10.92.1.1'],
    [b, 2, '10.92.1.2'],
    [b, 3, '10.92.2.1'],
    [c, 4, '10.92.2.2'],
  ] as const) {
    await ip('-n', node.ns, 'addr', 'add', `${address}/24`, 'dev', `${prefix}${n}`)
    await ip('-n', node.ns, 'link', 'set', `${prefix}${n}`, 'up')
  }
})

after(async () => {
  for (const node of nodes) await stop(node, 'SIGKILL')
  if (!skip) for (const node of nodes) await tryRun('ip', ['netns', 'del', node.ns])
  rmSync(work, { recursive: true, force: true })
})

test('the ends reach each other over the relay, both ways, and large packets pass', { skip }, async () => {
  for (const node of nodes) start(node)
  await Promise.all(nodes.map(served))
  await reaches(a, c, 20)
  await reaches(c, a, 20)
  // two hops and the receiver each take one off
  assert.match((await ping(a, addressOf(c), '-c', '1')).stdout.toString(), /ttl=61/)
  // 43 fragments each: the TUN holds three such packets while the daemon waits for a core, more are lost
  const large = await ping(a, addressOf(c), '-c', '5', '-i', '0.5', '-W', '10', '-s', '60000')
  assert.match(large.stdout.toString(), / 0% packet loss/)
})

test('the API says who is connected; ping and trace go through the daemon', { skip }, async () => {
  const peers = await until('the times to both to be known', 20_000, async () => {
    const known = await api<PeerStatus[]>(b, 'GET', '/peers')
    return known.every(({ rtt }) => rtt !== null) ? known : undefined
  })
  assert.deepEqual(
    peers.map((p) => [p.endpoint, p.state]),
    peersOf.b!.map((p) => [p, 'up']),
  )
  assert.ok(peers.every((p) => p.bytesIn > 0 && p.bytesOut > 0 && p.lastError !== undefined))
  const inbound = await api<PeerStatus[]>(a, 'GET', '/peers')
  assert.equal(inbound.length, 1)
  const probe = (address: string, hopLimit: number) =>
    api<ProbeResult>(a, 'POST', '/probe', { address, hopLimit, timeout: 3_000 })
  const reply = await probe(addressOf(c), 64)
  assert.ok(reply.outcome === 'reply' && reply.from === addressOf(c), JSON.stringify(reply))
  const relay = await probe(addressOf(c), 2)
  assert.ok(relay.outcome === 'error' && relay.from === addressOf(b) && relay.type === 3, JSON.stringify(relay))
})

test('the commands say the same, of the daemon that $ZOS_MYCELIUM_API names', { skip }, async () => {
  const at = (node: Node, ...args: string[]) =>
    tryRun(zos, ['mycelium', ...args], { env: { ...process.env, ZOS_MYCELIUM_API: `unix:${node.api}` } })
  const said = async <T>(node: Node, ...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await at(node, ...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout.toString()) as T
  }
  const own = await said<{ publicKey: string; address: string; subnet: string }>(a, 'inspect', a.key)
  assert.deepEqual(Object.keys(own).sort(), ['address', 'publicKey', 'subnet'])
  assert.equal(own.address, addressOf(a))
  assert.equal((await said<typeof own>(a, 'status')).address, own.address)
  const peers = await said<PeerStatus[]>(b, 'peers')
  for (const peer of peers)
    for (const key of ['endpoint', 'state', 'rtt', 'since', 'lastError', 'bytesIn', 'bytesOut'])
      assert.ok(key in peer, `a peer has no ${key}`)
  const routes = await said<{ subnet: string; selected: boolean; age: number | null }[]>(a, 'routes')
  const { subnet } = await said<typeof own>(c, 'status')
  assert.ok(
    routes.some((r) => r.subnet === subnet && r.selected && r.age !== null),
    JSON.stringify(routes),
  )
  assert.equal((await at(a, 'ping', addressOf(c))).code, 0)
  const trace = await at(a, 'trace', addressOf(c))
  const hops = trace.stdout.toString().trim().split('\n')
  assert.deepEqual(
    hops.map((line) => line.trim().split(/ +/)[1]),
    [addressOf(b), addressOf(c)],
  )
  // a capture ends when whoever asked for it does
  const capture = spawn(zos, ['mycelium', 'capture', '--peer', peersOf.b![1]!], {
    env: { ...process.env, ZOS_MYCELIUM_API: `unix:${b.api}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let lines = ''
  capture.stdout.on('data', (text) => {
    lines += text
  })
  const gone = new Promise((done) => capture.once('exit', done))
  await until('frames to be captured', 10_000, async () => {
    await ping(a, addressOf(c), '-c', '1')
    return lines.includes(addressOf(c)) && lines.split('\n').length > 3
  })
  capture.kill('SIGINT')
  await gone
  assert.ok(!lines.includes(peersOf.b![0]!), 'frames of the other peer')
})

/** Sends BYTES from one node to another over TCP; resolves with the SHA-256 of what came, as both see it. */
async function transfer(from: Node, to: Node, bytes: number): Promise<[string, string]> {
  const receive = `const h=require('crypto').createHash('sha256');require('net').createServer(s=>{s.on('data',d=>h.update(d));s.on('end',()=>{s.end();console.log(h.digest('hex'));process.exit()})}).listen(7777,'::',()=>console.log('up'))`
  const send = `const c=require('crypto'),h=c.createHash('sha256'),s=require('net').connect(7777,'${addressOf(to)}');let left=${bytes};const go=()=>{while(left>0){const b=c.randomBytes(Math.min(left,99991));left-=b.length;h.update(b);if(!s.write(b))return s.once('drain',go)}s.end()};s.on('connect',go);s.on('close',()=>console.log(h.digest('hex')));s.resume()`
  const inNs = (node: Node, script: string) =>
    spawn('ip', ['netns', 'exec', node.ns, process.execPath, '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const { promise: listens, resolve: begun } = Promise.withResolvers<void>()
  const received = outputOf(inNs(to, receive), 60, begun)
  await Promise.race([listens, received])
  const [sent, came] = await Promise.all([outputOf(inNs(from, send), 60), received])
  return [sent, came.replace('up\n', '')]
}

test('what TCP carries arrives bit for bit, in packets large and cut', { skip }, async () => {
  for (const [from, to] of [
    [a, c],
    [c, b],
  ] as const) {
    const [sent, received] = await transfer(from, to, 50_000_000)
    assert.equal(received, sent)
    assert.equal(received.length, 64)
  }
  const { packets, faults } = await api<Record<'packets' | 'faults', Record<string, number>>>(a, 'GET', '/status')
  for (const name of ['odd-offload', 'bad-large-packet', 'not-authentic', 'spoofed'])
    assert.equal(packets[name], undefined, name)
  assert.deepEqual(faults, {})
})

test('errors of the path reach the programs: no route, hop limit', { skip }, async () => {
  const nobody = await ping(a, '5ff:dead:beef::1', '-c', '1', '-W', '8')
  assert.match(nobody.stdout.toString(), /No route/)
  const routes = await tryRun(zos, ['mycelium', 'routes'], {
    env: { ...process.env, ZOS_MYCELIUM_API: `unix:${a.api}` },
  })
  assert.match(routes.stdout.toString(), /^5ff:dead:beef::\/64 +none +[0-9]+ s ago: no route: it does not run/m)
  // told once, to whoever runs the node
  const told = a.log.split('\n').filter((line) => line.includes('5ff:dead:beef::/64'))
  assert.equal(told.length, 1, a.log)
  assert.match(told[0]!, /^zos: 5ff:dead:beef::\/64 was not reached: no route: it does not run/)
  const short = await ping(a, addressOf(c), '-c', '1', '-t', '2')
  assert.match(short.stdout.toString(), new RegExp(`From ${addressOf(b)}.*Time exceeded`))
})

test('the relay is killed: nothing passes; it returns: all does', { skip }, async () => {
  await stop(b, 'SIGKILL')
  assert.notEqual((await ping(a, addressOf(c), '-c', '1')).code, 0)
  start(b)
  await served(b)
  await reaches(a, c, 15)
})

/** Writes BYTES to A's peer port from B's side; resolves when the other side has closed or 300 ms have passed. */
async function rubbish(bytes: Buffer): Promise<void> {
  const script = `const s=require('net').connect(9651,'10.92.1.1',()=>s.end(Buffer.from('${bytes.toString('base64')}','base64')));s.on('error',()=>{});s.on('close',()=>process.exit());setTimeout(()=>process.exit(),300)`
  await tryRun('ip', ['netns', 'exec', b.ns, process.execPath, '-e', script])
}

test('rubbish, hostile and unfinished frames cost only their own connection, with a counted reason', {
  skip,
}, async () => {
  const update = Buffer.from(`010100002a03003c083a0200ff`, 'hex')
  const hostile = {
    random: Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 167 + 13) & 0xff)),
    'bad-type': Buffer.from('01070000', 'hex'),
    'control-too-long': Buffer.from('010100002a03ffff', 'hex'),
    'bad-control-header': Buffer.from('010100002b030006', 'hex'),
    'bad-data-header': Buffer.from('01000000ffff0000', 'hex'),
    'bad-message': Buffer.concat([Buffer.from('010100002a030004', 'hex'), Buffer.from('08020000', 'hex')]),
    unfinished: update,
  }
  for (const bytes of Object.values(hostile)) await rubbish(bytes)
  const { faults } = await api<{ faults: Record<string, number> }>(a, 'GET', '/status')
  for (const name of ['bad-version', ...Object.keys(hostile).slice(1, -1)])
    assert.ok(faults[name]! >= 1, `${name} in ${JSON.stringify(faults)}`)
  const through = await ping(a, addressOf(c), '-c', '20', '-i', '0.02', '-W', '10')
  assert.match(through.stdout.toString(), / 0% packet loss/)
})

test('a message that was acknowledged outlives kill -9 of its receiver; one that was not is not said to have arrived', {
  skip,
}, async () => {
  const at = async (node: Node, args: string[], input = '') =>
    tryRun(zos, ['mycelium', ...args], { input, env: { ...process.env, ZOS_MYCELIUM_API: `unix:${node.api}` } })
  const send = (text: string, seconds: number) =>
    at(a, ['send', addressOf(c), '--topic', 'news', '--timeout', String(seconds)], text)
  const sent = await send('the first', 30)
  assert.match(sent.stdout.toString(), /^[0-9a-f]{16} received\n$/, sent.stderr)
  await stop(c, 'SIGKILL')
  const lost = await send('the second', 1)
  assert.match(lost.stderr, /not received yet/)
  start(c)
  await served(c)
  const receive = () => at(c, ['receive', '--topic', 'news', '--timeout', '30'])
  assert.equal((await receive()).stdout.toString(), 'the first')
  // the sender still tries
  assert.equal((await receive()).stdout.toString(), 'the second')
  assert.equal((await at(c, ['receive', '--timeout', '0'])).stderr, 'zos: no message came\n')
})

test('a second node on the same port or API is refused with one line', { skip }, async () => {
  const again = async (...args: string[]) =>
    tryRun('ip', ['netns', 'exec', a.ns, zos, 'mycelium', 'run', '--key-file', a.key, ...args], { timeout: 10_000 })
  const port = await again('--listen', 'tcp://[::]:9651', '--api', `unix:${work}/other.sock`)
  assert.equal(port.code, 1)
  assert.match(port.stderr, /^zos: Listen on "tcp:\/\/\[::\]:9651": address already in use.*\n$/)
  const tun = await again('--tun', 'zos0', '--api', `unix:${work}/other.sock`)
  assert.match(tun.stderr, /^zos: Create TUN interface "zos0": .*another program holds it.*\n$/)
  const socket = await again('--api', `unix:${a.api}`)
  assert.match(socket.stderr, /^zos: Serve the API on .*another daemon answers there.*\n$/)
  await stop(b, 'SIGTERM')
  assert.equal(b.child!.exitCode, 0)
})

test('its interface goes down and comes up: all as before; it is deleted: the node says so and ends', {
  skip,
}, async () => {
  start(b)
  await served(b)
  for (const state of ['down', 'up']) await ip('-n', a.ns, 'link', 'set', 'zos0', state)
  await reaches(a, c, 20)
  await ip('-n', a.ns, 'link', 'del', 'zos0')
  await until('it to end', 20_000, () => a.child!.exitCode !== null)
  assert.equal(a.child!.exitCode, 1)
  assert.match(a.log, /^zos: Read TUN interface "zos0": it is gone; .*\n$/m)
})
