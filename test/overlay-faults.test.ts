// Four nodes of the overlay in a diamond of network namespaces, and what may happen to them while a connection is open.
// Needs root and /dev/net/tun.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep } from '#sys'
import { createNet } from '../bench/overlay/net.ts'
import { DIAMOND, noNamespaces, transferred } from './overlay.ts'

const skip = noNamespaces()

async function started() {
  const net = createNet(['ours', 'ours', 'ours', 'ours'], DIAMOND, (_i, keys) => keys.flatMap((key) => ['--ours', key]))
  for (const i of [1, 2, 0, 3]) net.start(i)
  await net.reach(60)
  return net
}

test('a connection lives on while nodes on its path vanish, are cut off all at once, and are killed', {
  skip,
}, async () => {
  using net = await started()
  const onPath = () => {
    const before = net.sentBytes(0, 1)
    return sleep(500).then(() => (net.sentBytes(0, 1) - before > 100_000 ? 1 : 2))
  }
  const result = await transferred(net, 0, 3, 80, async () => {
    await sleep(500)
    const first = await onPath()
    net.blackHole(first)
    await sleep(2_000)
    // now both: nothing passes until one is back
    net.blackHole(3 - first)
    await sleep(1_500)
    net.plugIn(first)
    await sleep(1_500)
    net.plugIn(3 - first)
    await sleep(500)
    await net.stop(await onPath())
  })
  assert.equal(result, '20000000 same')
})

test('an end is killed: its sessions are gone, new ones are made; datagrams of 60 kB pass whole', {
  skip,
}, async () => {
  using net = await started()
  await net.stop(3)
  net.start(3)
  await net.reach(20)
  // 43 fragments each: the TUN holds three such packets while the daemon waits for a core, more are lost
  const large = net.exec(0, ['ping', '-6', '-c', '5', '-i', '0.5', '-s', '60000', net.addresses[3]!])
  assert.match(String(large.stdout), / 0% packet loss/)
})
