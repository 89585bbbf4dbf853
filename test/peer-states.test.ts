// What a node says of peers that it cannot reach, and of another one with its own key. Needs root and /dev/net/tun.
import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import type { PeerStatus } from '#mycelium'
import { callUnix, sleep, tryRun, until } from '#sys'
import { createNet, type Net } from '../bench/overlay/net.ts'
import { noNamespaces } from './overlay.ts'

const skip = noNamespaces()
/** Where nobody is: one that is dialled for seconds. */
const SILENT = 'tcp://10.93.0.77:9651'
const zos = resolve(import.meta.dirname, '../zos')
const peersOf = (net: Net) => callUnix<PeerStatus[]>(net.api(0), 'GET', '/peers')
const zosAt = (net: Net, i: number, command: string) =>
  tryRun(zos, ['mycelium', command], { env: { ...process.env, ZOS_MYCELIUM_API: `unix:${net.api(i)}` } })
const isServed = (net: Net, i: number) => async () =>
  callUnix(net.api(i), 'GET', '/peers').then(
    () => true,
    () => false,
  )

test('each peer that cannot be had says its state, and why in words that say what to do', { skip }, async () => {
  using net = createNet(['ours', 'ours'], [[0, 1]])
  const servers = `const net=require('net');net.createServer(s=>s.on('error',()=>{}).write('HTTP/1.1 400 Bad Request\\r\\n')).listen(81);net.createServer(s=>s.on('error',()=>{})).listen(82);net.createServer(s=>s.destroy()).listen(83,()=>console.log('up'))`
  const child = net.spawn(1, [process.execPath, '-e', servers])
  try {
    await new Promise((done) => child.stdout!.once('data', done))
    net.start(0)
    await until('its API', 30_000, isServed(net, 0))
    const expected = {
      'tcp://10.93.0.2:1': /^connecting failed: connection refused; nothing listens there: start that node, or correct/,
      'tcp://10.93.0.2:81':
        /^it does not speak the protocol \(bad-version: 72\); is something else on that port, or a private/,
      'tcp://10.93.0.2:82': /^it said nothing; is something else on that port\?$/,
      'tcp://10.93.0.2:83':
        /^(the other side closed the connection; it has ended|connection reset by peer; that node has ended)/,
      [SILENT]:
        /^connecting failed: (host is unreachable; no machine has that|no answer within 5 s; is the address right)/,
      'tcp://198.51.100.9:9651': /^connecting failed: network is unreachable; this machine has no way there/,
    }
    const names = Object.keys(expected)
    for (const endpoint of names) await callUnix(net.api(0), 'POST', '/api/v1/admin/peers', { body: { endpoint } })
    const seen = new Map(names.map((name) => [name, new Set<string>()]))
    const last = new Map<string, string>()
    await until('an error of each', 60_000, async () => {
      for (const { endpoint, state, lastError } of await peersOf(net)) {
        seen.get(endpoint)?.add(state)
        if (lastError !== null) last.set(endpoint, lastError)
      }
      return names.every((name) => last.has(name)) && seen.get(SILENT)!.size > 1
    })
    for (const [name, pattern] of Object.entries(expected)) assert.match(last.get(name)!, pattern, name)
    assert.deepEqual([...seen.get(SILENT)!].sort(), ['connecting', 'down'])
    const table = (await zosAt(net, 0, 'peers')).stdout.toString()
    assert.match(table, /10\.93\.0\.2:1 .* down .*connection refused; nothing listens there/)
    const gone = `/api/v1/admin/peers/${encodeURIComponent(names[0]!)}`
    await callUnix(net.api(0), 'DELETE', gone)
    assert.ok(!(await peersOf(net)).some(({ endpoint }) => endpoint === names[0]))
  } finally {
    child.kill('SIGKILL')
  }
})

const nightly = process.env.ZOS_NIGHTLY ? skip : 'a minute: ZOS_NIGHTLY=1'

test('one key on two machines: one of them is told so, in its status and by a metric', { skip: nightly }, async () => {
  using net = createNet(
    ['ours', 'ours', 'ours'],
    [
      [0, 1],
      [2, 1],
    ],
  )
  copyFileSync(net.keyFile(0), net.keyFile(2))
  for (const i of [1, 0, 2]) net.start(i)
  for (const i of [1, 0, 2]) await until('its API', 30_000, isServed(net, i))
  await sleep(30_000)
  const told = await until('one to be told', 60_000, async () => {
    for (const i of [0, 2]) {
      const { clash } = await callUnix<{ clash: string | null }>(net.api(i), 'GET', '/status')
      if (clash !== null) return { i, clash }
    }
    return undefined
  })
  assert.match(
    told.clash,
    /^another node has the key of this one: one file is on two machines, make another with "zos mycelium keygen"; it is heard from tcp:/,
  )
  assert.match((await zosAt(net, told.i, 'metrics')).stdout.toString(), /^zos_mycelium_key_clashes_total [1-9]/m)
})
