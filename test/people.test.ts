// A person's machine that reaches the overlay port of the grid's relay and nothing else. Needs root and /dev/net/tun.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Daemon, parseEndpoint, parseServicePlace, SHARES } from '#mycelium'
import { callUnix } from '#sys'
import { places } from '#wire'
import { type Grid, startGrid } from './grid.ts'
import { busyboxTree, ROOT, until } from './harness.ts'
import { PASSPHRASE } from './keys.ts'
import { noNamespaces } from './overlay.ts'

const skip = noNamespaces()
const NS = `zp${process.pid}`
const NET = `10.${100 + (process.pid % 100)}.${(process.pid >> 7) % 250}`
const [GRID, PERSON] = [`${NET}.1`, `${NET}.2`]
const MOTTO = 'said on the machine of bob alone'
const children: ChildProcess[] = []
let grid: Grid | undefined
let home: string
let facts: string
let capture: string
let relay: number
let joined: ChildProcess
let stranger: Daemon | undefined

const ip = (...args: string[]) => execFileSync('ip', args)
const environment = () => ({ ...process.env, ZOS_HOME: home, ZOS_PASSPHRASE: PASSPHRASE })
const inside = (args: string[], env: NodeJS.ProcessEnv = {}): SpawnSyncReturns<Buffer> =>
  spawnSync('ip', ['netns', 'exec', NS, ...args], { env: { ...environment(), ...env }, timeout: 300_000 })

/** What `zos ARGS` prints on bob's machine; throws unless it succeeds. */
function bob(...args: string[]): string {
  const { status, stdout, stderr } = inside([join(ROOT, 'zos'), ...args])
  assert.equal(status, 0, `zos ${args.join(' ')}: ${stderr}`)
  return String(stdout)
}

/** `zos ARGS` on bob's machine until the test ends, and what it says. */
function running(...args: string[]): { child: ChildProcess; said: () => string } {
  const command = ['netns', 'exec', NS, process.execPath, join(ROOT, 'src/cli/main.ts'), ...args]
  const child = spawn('ip', command, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() })
  children.push(child)
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream!.setEncoding('utf8').on('data', (d: string) => (text += d))
  return { child, said: () => text }
}

/** The body at URL, asked for on bob's machine; or "CODE" of what went wrong. */
const page = (url: string): string => {
  const script = `fetch('${url}',{signal:AbortSignal.timeout(10000)}).then(r=>r.text()).then(t=>process.stdout.write(t),e=>process.stdout.write(String(e.cause?.code??e)))`
  return String(inside([process.execPath, '-e', script]).stdout)
}

type Streams = { counters: Record<string, number>; open: Record<string, number> }
/** What the relay says of its streams. */
const streams = async (): Promise<Streams> => {
  const api = join(grid!.node.home, 'grid/relay/api.sock')
  return (await callUnix<{ streams: Streams }>(api, 'GET', '/status')).streams
}

/** What was captured of FILTER, a line for each frame. */
const captured = (filter: string): string[] => {
  const { stdout, status, stderr } = spawnSync('tcpdump', ['-nn', '-r', capture, filter], { maxBuffer: 1 << 28 })
  assert.equal(status, 0, String(stderr))
  return String(stdout).split('\n').filter(Boolean)
}
const overlay = () => `tcp and host ${PERSON} and host ${GRID} and port ${relay}`
// ff02::16: reports of multicast groups (RFC 3810), which neighbour discovery joins
const other = () => `not arp and not icmp6 and not ip6 dst ff02::16 and not (${overlay()})`

before(async () => {
  if (skip) return
  grid = await startGrid(1)
  ip('netns', 'add', NS)
  ip('link', 'add', NS, 'type', 'veth', 'peer', 'name', 'up0', 'netns', NS)
  ip('addr', 'add', `${GRID}/24`, 'dev', NS)
  ip('link', 'set', NS, 'up')
  for (const words of [`addr add ${PERSON}/24 dev up0`, 'link set up0 up', 'link set lo up'])
    ip('-n', NS, ...words.split(' '))
  capture = join(grid.node.work, 'person.pcap')
  children.push(spawn('tcpdump', ['-U', '-s', '0', '-i', NS, '-w', capture], { stdio: 'ignore' }))
  await until('the capture', 20, () => spawnSync('test', ['-s', capture]).status === 0)
  grid.z('grid', 'up', '--address', GRID)
  facts = join(grid.node.work, 'grid.json')
  writeFileSync(facts, grid.z('grid', 'export'))
  relay = grid.j<{ relay: { port: number } }>('grid', 'status').relay.port
  // all that bob's machine has of the grid: the file, and its person's key
  home = join(grid.node.work, 'bob')
  mkdirSync(join(home, 'keys'), { recursive: true, mode: 0o700 })
  const keys = join(grid.node.home, 'keys')
  for (const name of readdirSync(keys))
    if (name.startsWith('bob')) copyFileSync(join(keys, name), join(home, 'keys', name))
})
after(async () => {
  await stranger?.[Symbol.asyncDispose]()
  for (const child of children) child.kill('SIGTERM')
  grid?.[Symbol.dispose]()
  spawnSync('ip', ['netns', 'del', NS])
})

test('before it joins, a machine reads the chain over the overlay by an identity made for the command', {
  skip,
}, () => {
  const { rpc, hub, peers } = JSON.parse(readFileSync(facts, 'utf8')) as Record<string, string[]>
  assert.deepEqual(peers, [`tcp://${GRID}:${relay}`])
  for (const [url] of [rpc!, hub!]) assert.match(url!, /^mycelium:\/\/\[[45][0-9a-f:]+\]\/(chain|hub)$/)
  const { status, stdout, stderr } = inside([join(ROOT, 'zos'), 'node', 'ls', '--json'], { ZOS_GRID: facts })
  assert.equal(status, 0, String(stderr))
  const [node] = JSON.parse(String(stdout)) as { name: string }[]
  assert.equal(node?.name, 'node1')
  const chain = grid!.j<{ chain: { port: number } }>('grid', 'status').chain.port
  assert.equal(page(`http://${GRID}:${chain}/`), 'ECONNREFUSED', 'the chain itself is out of reach')
})

test('a person deploys, approves, looks and forwards from a machine that reaches the relay alone', {
  skip,
}, async () => {
  const { z, second, runs } = grid!
  const join_ = running('join', '--grid', facts, '--as', 'bob', '--tun', 'zos0')
  joined = join_.child
  await until('bob to be on the grid', 60, () => {
    assert.equal(joined.exitCode, null, join_.said())
    return /bob is [0-9a-f:]+ on zos0/.test(join_.said())
  })
  const tree = busyboxTree(join(grid!.node.work, 'bobs'), { 'www/index.html': MOTTO })
  bob('publish', tree, 'bobs')
  const spec = join(grid!.node.work, 'shop.yaml')
  const lines = ['name: shop', 'workloads:', '  - name: web', '    image: bobs', '    memory: 64m', '    ports: [80]']
  const serve = ['sh', '-c', 'trap "exit 0" TERM; httpd -f -p 80 -h /www & wait']
  writeFileSync(spec, [...lines, `    args: ${JSON.stringify(serve)}`, ''].join('\n'))
  bob('deploy', spec, '--as', 'bob')
  second('alice')
  await runs('shop', 1)
  assert.match(bob('status', 'shop'), /shop\/0 .*running/)

  z('freeze', 'shop', '--hold', '--as', 'alice')
  const [open] = JSON.parse(bob('proposals', '--json')) as { id: string }[]
  assert.match(bob('approve', open!.id, '--as', 'bob'), /2 of 2, agreed on/)
  assert.match(bob('log', 'shop'), /freeze/)
  z('thaw', 'shop', '--as', 'alice')
  const [again] = JSON.parse(bob('proposals', '--json')) as { id: string }[]
  bob('approve', again!.id, '--as', 'bob')
  await runs('shop')

  const forwards = running('forward', 'shop/0', '8080:80')
  await until('the page of shop/0', 60, () => page('http://127.0.0.1:8080/') === MOTTO)
  const undeclared = running('forward', 'shop/0', '8081:81')
  await until('it to listen', 30, () => /leads to/.test(undeclared.said()))
  page('http://127.0.0.1:8081/')
  await until('the reason', 30, () => /port 81 of "shop\/0": its rules do not let you in/.test(undeclared.said()))
  forwards.child.kill('SIGTERM')
  undeclared.child.kill('SIGTERM')
})

test('strangers who hold all the streams they get keep nobody of the grid from chain and hub', { skip }, async () => {
  const { rpc, peers } = JSON.parse(readFileSync(facts, 'utf8')) as { rpc: string[]; peers: string[] }
  const { address } = parseServicePlace(rpc[0]!)!
  await until('both to be known, and streams of commands before them to be over', 60, async () => {
    const { open } = await streams()
    return open.node! > 0 && open.member! > 0 && open.stranger === 0
  })
  const { each } = SHARES.stranger
  const own = await Daemon.start({ secret: randomBytes(32), listen: [], peers: peers.map(parseEndpoint) })
  stranger = own
  await until('it to be connected', 30, async () => (await own.peers()).some(({ state }) => state === 'up'))
  const refusals: string[] = []
  const held = Array.from({ length: each + 5 }, () => own.dial(address, 'chain'))
  for (const stream of held) stream.on('error', (error: Error) => refusals.push(error.message))
  await until('the refusals', 30, () => refusals.length >= 5)
  assert.match(refusals[0]!, /too many streams: 8 at once/)
  const { counters, open } = await streams()
  // what is asked for again meanwhile is refused again
  assert.ok(open.stranger === each && counters['streams-of-one']! >= 5, JSON.stringify({ open, counters }))
  assert.match(bob('status', 'shop'), /shop\/0 .*running/)
})

test('without the join a forward says what leads there', { skip }, async () => {
  joined.kill('SIGTERM')
  await until('the join to end', 30, () => joined.exitCode !== null)
  assert.ok(!existsSync(places({ ZOS_HOME: home }).run), 'its sockets are gone, and their folder')
  const said = inside([join(ROOT, 'zos'), 'forward', 'shop/0', '8082:80'], { ZOS_GRID: facts })
  assert.equal(said.status, 1)
  assert.match(String(said.stderr), /^zos: Forward to "shop\/0": .*"zos join" leads there, and must run\n$/)
})

test('all that passed between the two machines is overlay frames, and nothing of it can be read', {
  skip,
}, async () => {
  // what was tried above and refused, and nothing else
  const chain = grid!.j<{ chain: { port: number } }>('grid', 'status').chain.port
  assert.deepEqual(captured(`${other()} and not port ${chain}`), [])
  assert.ok(captured(overlay()).length > 100)
  const bytes = readFileSync(capture)
  for (const word of ['eth_getLogs', 'jsonrpc', '/objects/', '/specs/', 'HTTP/1.1', MOTTO, 'busybox'])
    assert.equal(bytes.indexOf(word), -1, `"${word}" can be read`)
  // what is not of the overlay would have been seen
  inside(['ping', '-c', '1', '-W', '5', GRID])
  await until('the ping', 20, () => captured(`${other()} and not port ${chain}`).length > 0)
})

test('streams of strangers that say nothing are ended', { skip }, async () => {
  await until('their end', 60, async () => (await streams()).open.stranger === 0)
})
