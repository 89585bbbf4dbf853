// Eight nodes in namespaces of their own, over eleven links that lose, delay and reorder; what is open between the two ends while
// the way between them is killed, cut and comes back. Needs root and /dev/net/tun.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { createKeyFile, formatAddress, formatSubnet, type RouteStatus, subnetOf } from '#mycelium'
import { callUnix, run, sleep, tryRun, until } from '#sys'
import { impairedLink } from './impaired-net.ts'
import { noNamespaces } from './overlay.ts'

const skip = process.env.ZOS_NIGHTLY ? noNamespaces() : 'minutes: ZOS_NIGHTLY=1'
const zos = resolve(import.meta.dirname, '../zos')
const id = `zm${process.pid % 10000}`
const dir = mkdtempSync(join(tmpdir(), 'zos-mesh-'))
const ns = (i: number) => `${id}n${i}`
const api = (i: number) => join(dir, `${i}.sock`)
const NODES = [0, 1, 2, 3, 4, 5, 6, 7]
const LAST = 7
/** Three nodes beside the first, three beside the last, and ways across. */
const EDGES = [
  ...[1, 2, 3].map((n) => [0, n] as const),
  ...([1, 2, 3].flatMap((n) => [4, 5, 6].map((m) => [n, m])) as [number, number][]).filter(
    ([n, m]) => m - n === 3 || m - n === 4,
  ),
  ...[4, 5, 6].map((m) => [m, LAST] as const),
]
/** Those that lead from the first half to the second. */
const ACROSS = EDGES.flatMap(([a, b], n) => (a !== 0 && b !== LAST ? [n] : []))
const LINE = { loss: 0.01, delay: 3, jitter: 4 }
const DATAGRAM = 65_000

const links: ChildProcess[] = []
const daemons = new Map<number, ChildProcess>()
const programs: ChildProcess[] = []
const addresses: Buffer[] = []

function start(i: number): void {
  const dials = EDGES.flatMap(([, b], n) => (b === i ? ['--peer', `tcp://10.95.${n}.1:9651`] : []))
  const args = ['mycelium', 'run', '--key-file', join(dir, `${i}.key`), '--listen', 'tcp://[::]:9651', '--tun', 'ov0']
  const more = ['--api', `unix:${api(i)}`, '--no-discovery', '--sessions-only', ...dials]
  daemons.set(i, spawn('ip', ['netns', 'exec', ns(i), zos, ...args, ...more], { stdio: 'ignore' }))
}

/** kill -9. */
async function kill(i: number): Promise<void> {
  const child = daemons.get(i)!
  const gone = new Promise((done) => child.once('exit', done))
  child.kill('SIGKILL')
  await gone
}

const linksOf = (i: number) => EDGES.flatMap(([a, b], n) => (a === i || b === i ? [n] : []))
/** Nothing passes these, and nobody is told; what waited in them comes late when they go on. */
const tell = (which: number[], signal: NodeJS.Signals): void => {
  for (const n of which) links[n]!.kill(signal)
}
const cut = (which: number[]) => tell(which, 'SIGSTOP')
const mend = (which: number[]) => tell(which, 'SIGCONT')

/** A program in node I's namespace, and all that it has said. */
function inNs(i: number, script: string) {
  const child = spawn('ip', ['netns', 'exec', ns(i), process.execPath, '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  programs.push(child)
  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (said: string) => (text += said))
  return { child, said: () => text, ended: new Promise((done) => child.once('exit', done)) }
}

const address = (i: number) => formatAddress(addresses[i]!)
const ping = (from: number, to: number, ...args: string[]) =>
  tryRun('ip', ['netns', 'exec', ns(from), 'ping', '-6', '-n', '-W', '5', ...args, address(to)], { timeout: 60_000 })

/** The neighbour of the first node over which the last one is reached. */
async function via(): Promise<number> {
  const wanted = formatSubnet(subnetOf(addresses[LAST]!))
  const route = await until('a way', 20_000, async () => {
    const routes = await callUnix<RouteStatus[]>(api(0), 'GET', '/routes')
    return routes.find((one) => one.selected && one.subnet === wanted)
  })
  // an inbound connection has the other end's address: 10.95.LINK.2
  return EDGES[Number(/10\.95\.(\d+)\./.exec(route.via)![1])]![1]
}

before(async () => {
  if (skip) return
  for (const i of NODES) {
    await run('ip', ['netns', 'add', ns(i)])
    await run('ip', ['-n', ns(i), 'link', 'set', 'lo', 'up'])
    addresses.push((await createKeyFile(join(dir, `${i}.key`))).address)
  }
  for (const [n, ends] of EDGES.entries()) {
    const end = (which: 0 | 1) => ({
      namespace: ns(ends[which]),
      device: `e${n}`,
      address: `10.95.${n}.${which + 1}/24`,
    })
    links.push(await impairedLink(`${id}e${n}`, [end(0), end(1)], { ...LINE, seed: n + 1 }))
  }
  for (const i of NODES) start(i)
})

after(async () => {
  for (const child of [...programs, ...daemons.values(), ...links]) child.kill('SIGKILL')
  if (!skip) for (const i of NODES) await tryRun('ip', ['netns', 'del', ns(i)])
  rmSync(dir, { recursive: true, force: true })
})

test('eight nodes over bad links: a connection and datagrams of 64 kB outlive kill -9, cuts and a partition on their way', {
  skip,
}, async (t) => {
  await until('the ends to reach each other', 90_000, async () => (await ping(0, LAST, '-c', '1')).code === 0)
  for (const i of NODES)
    for (const j of NODES)
      if (i < j) await until(`${i} to reach ${j}`, 60_000, async () => (await ping(i, j, '-c', '1')).code === 0)

  const receiver = inNs(
    LAST,
    `const h=require('crypto').createHash('sha256');let n=0;require('net').createServer(s=>{s.on('data',d=>{n+=d.length;h.update(d)});s.on('end',()=>{s.end();console.log(n+' '+h.digest('hex'));process.exit()})}).listen(7777,'::',()=>console.log('up'))`,
  )
  const echo = inNs(
    LAST,
    `const s=require('dgram').createSocket('udp6');s.on('message',(m,r)=>s.send(m,r.port,r.address));s.bind(7778,'::',()=>console.log('up'))`,
  )
  for (const one of [receiver, echo]) await until('both to listen', 30_000, () => one.said().includes('up'))
  const sender = inNs(
    0,
    `const c=require('crypto'),h=c.createHash('sha256');let n=0,over=false;const s=require('net').connect(7777,'${address(LAST)}');const go=()=>{if(over)return s.end();const b=c.randomBytes(20000);h.update(b);n+=b.length;s.write(b,()=>setTimeout(go,50))};s.on('connect',()=>{console.log('open');go()});process.stdin.on('end',()=>{over=true}).resume();s.on('error',e=>{console.log(e.code);process.exit(1)});s.on('close',()=>{console.log(n+' '+h.digest('hex'));process.exit()});s.resume()`,
  )
  // each with other bytes, and counted only when it comes back as it was
  const datagrams = inNs(
    0,
    `const c=require('crypto'),s=require('dgram').createSocket('udp6');let last;s.on('message',m=>process.stdout.write(m.length===${DATAGRAM}&&m.equals(last)?'.':'x'));setInterval(()=>{last=c.randomBytes(${DATAGRAM});s.send(last,7778,'${address(LAST)}',()=>{})},500)`,
  )
  const echoes = () => datagrams.said().split('.').length - 1
  /** Both are alive: datagrams come back, bytes of the connection arrive. */
  const alive = async (after: string) => {
    const before = echoes()
    await until(`datagrams after ${after}`, 30_000, () => echoes() >= before + 2)
    assert.match(sender.said(), /^open\n$/, `the connection after ${after}`)
  }
  await until('the connection', 20_000, () => sender.said().includes('open'))
  await alive('the start')
  const ways = [await via()]
  const next = async (what: string) => {
    await alive(what)
    ways.push(await via())
  }

  const [first] = ways as [number]
  await kill(first)
  await next('the node on the way was killed')
  assert.notEqual(ways[1], first)
  const second = ways[1]!
  cut(linksOf(second))
  await next('the next one was cut off, all at once')
  assert.ok(ways[2] !== first && ways[2] !== second, `by ${ways.join(', ')}`)
  start(first)
  mend(linksOf(second))
  await sleep(2_000)

  cut(ACROSS)
  await sleep(3_000)
  const during = echoes()
  await sleep(1_500)
  assert.equal(echoes(), during, 'nothing passes a partition')
  mend(ACROSS)
  await next('a partition')
  await kill(ways.at(-1)!)
  await next('one more was killed')

  sender.child.stdin!.end()
  await Promise.all([sender.ended, receiver.ended])
  const [sent, received] = [sender.said(), receiver.said()].map((text) => text.trim().split('\n').at(-1)!)
  assert.equal(received, sent)
  const bytes = Number(sent!.split(' ')[0])
  assert.ok(bytes > 1_000_000, `${bytes} bytes`)
  t.diagnostic(`${bytes} bytes, ${echoes()} datagrams, by ${ways.join(', ')}`)
  for (const i of NODES) {
    if (daemons.get(i)!.signalCode !== null) continue
    type Status = Record<'packets' | 'faults', Record<string, number>>
    const { packets, faults } = await callUnix<Status>(api(i), 'GET', '/status')
    assert.deepEqual(faults, {}, `node ${i}`)
    for (const name of ['spoofed', 'replayed', 'downgraded']) assert.equal(packets[name], undefined, `${name} at ${i}`)
  }
})
