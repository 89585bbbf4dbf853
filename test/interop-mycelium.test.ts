// Ours beside the public daemon, in network namespaces: MYCELIUM_BIN=FILE names one (0.6.1 or later). Results of the last
// run: docs/interop-mycelium.md.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { test } from 'node:test'
import { callUnix, sleep } from '#sys'
import { createNet, type Kind, type Net } from '../bench/overlay/net.ts'

const skip = process.env.MYCELIUM_BIN ? false : 'set MYCELIUM_BIN to a public Mycelium daemon to run it'

const lines: Kind[][] = [
  ['ours', 'public'],
  ['public', 'ours'],
  ['ours', 'public', 'ours'],
  ['public', 'ours', 'public'],
  ['public', 'public', 'ours'],
]

for (const kinds of lines)
  test(`${kinds.join(' – ')}: pings both ways, large datagrams, a stream whose bytes are compared`, {
    skip,
  }, async () => {
    using net = createNet(
      kinds,
      kinds.slice(1).map((_, i) => [i + 1, i] as const),
    )
    const last = kinds.length - 1
    for (const i of kinds.keys()) net.start(i)
    await net.reach(60)
    const ping = (from: number, to: number, ...args: string[]) =>
      String(net.exec(from, ['ping', '-6', '-i', '0.1', '-c', '20', '-W', '2', ...args, net.addresses[to]!]).stdout)
    assert.match(ping(0, last), / 0% packet loss/)
    assert.match(ping(last, 0), / 0% packet loss/)
    assert.match(ping(0, last, '-s', '20000'), / 0% packet loss/)
    for (const [from, to] of [
      [0, last],
      [last, 0],
    ] as const)
      assert.equal(await transferred(net, from, to), '20000000 same')
    for (const i of kinds.keys()) {
      if (kinds[i] !== 'ours') continue
      const { packets, faults } = await callUnix<Record<string, Record<string, number>>>(net.api(i), 'GET', '/status')
      assert.deepEqual(faults, {}, `node ${i}`)
      for (const name of ['not-authentic', 'spoofed', 'bad-inner-packet', 'replayed', 'downgraded'])
        assert.equal(packets![name], undefined, `${name} at node ${i}`)
    }
  })

/** The output of a program that ends by itself; it is killed after SECONDS. */
async function outputOf(child: ChildProcess, seconds: number): Promise<string> {
  let said = ''
  child.stdout!.on('data', (text) => {
    said += text
  })
  const limit = setTimeout(() => child.kill('SIGKILL'), seconds * 1000)
  await new Promise((done) => child.once('close', done))
  clearTimeout(limit)
  return said.trim()
}

/** 100 pieces of 200 kB over TCP, PAUSE ms apart; both ends hash what passed. DURING runs meanwhile. */
async function transferred(
  net: Net,
  from: number,
  to: number,
  pause = 0,
  during?: () => Promise<void>,
): Promise<string> {
  const receive = `const h=require('crypto').createHash('sha256');let n=0;require('net').createServer(s=>{s.on('data',d=>{n+=d.length;h.update(d)});s.on('end',()=>{s.end();console.log(n+' '+h.digest('hex'));process.exit()})}).listen(7777,'::')`
  const send = `const c=require('crypto'),h=c.createHash('sha256');const s=require('net').connect(7777,'${net.addresses[to]}');let i=0;const go=()=>{if(i++>=100)return s.end();const b=c.randomBytes(200000);h.update(b);s.write(b,()=>setTimeout(go,${pause}))};s.on('connect',go);s.on('close',()=>console.log(h.digest('hex')));s.resume()`
  const receiver = outputOf(net.spawn(to, [process.execPath, '-e', receive]), 90)
  await sleep(1_000)
  const sender = outputOf(net.spawn(from, [process.execPath, '-e', send]), 90)
  await during?.()
  const [sent, received] = await Promise.all([sender, receiver])
  const [bytes, hash] = received.split(' ')
  return `${bytes} ${hash === sent ? 'same' : 'other'}`
}

test('a stream lives on when the node on its path vanishes and there is another way, of either kind', {
  skip,
}, async () => {
  const edges = [
    [0, 1],
    [0, 2],
    [3, 1],
    [3, 2],
  ] as const
  using net = createNet(['ours', 'public', 'ours', 'ours'], edges)
  for (const i of [1, 2, 0, 3]) net.start(i)
  await net.reach(60)
  const result = await transferred(net, 0, 3, 50, async () => {
    await sleep(2_000)
    net.blackHole(net.sentBytes(0, 1) > net.sentBytes(0, 2) ? 1 : 2)
  })
  assert.equal(result, '20000000 same')
})
