// Nodes on one link find each other, without a peer being named. Needs root and /dev/net/tun; MYCELIUM_BIN adds the public daemon.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import type { PeerStatus } from '#mycelium'
import { callUnix, sleep, until } from '#sys'
import { createNet, type Kind, type Net } from '../bench/overlay/net.ts'
import { noNamespaces } from './overlay.ts'

const skip = noNamespaces()
const zos = resolve(import.meta.dirname, '../zos')
const isPublicHere = process.env.MYCELIUM_BIN ? false : 'set MYCELIUM_BIN to a public Mycelium daemon to run it'
const peersOf = (net: Net, i: number) => callUnix<PeerStatus[]>(net.api(i), 'GET', '/peers')
const isUp = (net: Net, i: number) => async () => (await peersOf(net, i).catch(() => [])).some((p) => p.state === 'up')

const pair = (kinds: Kind[], flags: (i: number) => string[] = () => []) =>
  createNet(kinds, [[0, 1]], flags, { discovery: true })

test('two nodes on one bridge find each other, once; one comes back after kill -9', { skip }, async () => {
  using net = pair(['ours', 'ours'])
  for (const i of [0, 1]) net.start(i)
  await net.reach(60)
  // both are told of each other, one of them dials
  await sleep(2_500)
  const all = [...(await peersOf(net, 0)), ...(await peersOf(net, 1))]
  assert.deepEqual(all.map((peer) => [peer.direction, peer.discovered, peer.state]).sort(), [
    ['in', false, 'up'],
    ['out', true, 'up'],
  ])
  assert.match(all.find((peer) => peer.discovered)!.endpoint, /^tcp:\/\/\[fe80::[0-9a-f:]+%e[01]\]:9651$/)
  // a name with a zone, as nobody could write it down who does not read it there
  const finder = (await peersOf(net, 0)).some((peer) => peer.discovered) ? 0 : 1
  const { endpoint } = all.find((peer) => peer.discovered)!
  const env = { ...process.env, ZOS_MYCELIUM_API: `unix:${net.api(finder)}` }
  const captured = spawn(zos, ['mycelium', 'capture', '--peer', endpoint], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(captured.stdout, 'data')
  captured.kill('SIGTERM')
  assert.ok(String(line).includes(endpoint), String(line))
  // who unplugs a cable, or closes a lid, finds the others there again
  const looks = (where: string[]) => async () => {
    const { discovery } = await callUnix<{ discovery: string[] }>(net.api(0), 'GET', '/status')
    return isDeepStrictEqual(discovery, where)
  }
  net.exec(0, ['ip', 'link', 'set', 'e1', 'down'])
  await until('the link to be missed', 60_000, looks([]))
  net.exec(0, ['ip', 'link', 'set', 'e1', 'up'])
  await until('the link to be looked at again', 60_000, looks(['e1']))
  await net.stop(1)
  net.start(1)
  await until('it is back', 60_000, isUp(net, 1))
  await net.reach(60)
})

test('nodes on links that have only just come up find each other soon', { skip }, async () => {
  using net = pair(['ours', 'ours'])
  for (const i of [0, 1]) {
    // its address is tentative for seconds: nothing can be sent from it, and others' packets may not arrive
    const anew = `echo 12 > /proc/sys/net/ipv6/conf/e${1 - i}/dad_transmits; ip link set e${1 - i} down; ip link set e${1 - i} up`
    assert.equal(net.exec(i, ['sh', '-c', anew]).status, 0)
    net.start(i)
  }
  await net.reach(40)
})

test('--no-discovery neither tells nor listens', { skip }, async () => {
  using net = pair(['ours', 'ours'], (i) => (i === 1 ? ['--no-discovery'] : []))
  for (const i of [1, 0]) net.start(i)
  const says = (i: number) => callUnix<{ discovery: string[] }>(net.api(i), 'GET', '/status').catch(() => undefined)
  await until('the first looks', 60_000, async () => (await says(0))?.discovery[0] === 'e1')
  await until('the second runs', 60_000, async () => (await says(1)) !== undefined)
  await sleep(1_500)
  assert.deepEqual((await says(1))?.discovery, [])
  assert.deepEqual([...(await peersOf(net, 0)), ...(await peersOf(net, 1))], [])
})

for (const kinds of [
  ['ours', 'public'],
  ['public', 'ours'],
] as Kind[][])
  test(`${kinds.join(', then ')}: one finds the other`, { skip: skip || isPublicHere }, async () => {
    using net = pair(kinds)
    net.start(0)
    await sleep(2_000)
    net.start(1)
    await net.reach(60)
    assert.ok((await peersOf(net, kinds.indexOf('ours'))).some((peer) => peer.state === 'up'))
  })
