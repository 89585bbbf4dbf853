// Ours beside the public daemon, in network namespaces: MYCELIUM_BIN=FILE names one (0.6.1 or later). Results of the last
// run: docs/interop-mycelium.md.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { callUnix, sleep } from '#sys'
import { createNet, type Kind } from '../bench/overlay/net.ts'
import { DIAMOND, transferred } from './overlay.ts'

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

test('a stream lives on when the node on its path vanishes and there is another way, of either kind', {
  skip,
}, async () => {
  using net = createNet(['ours', 'public', 'ours', 'ours'], DIAMOND)
  for (const i of [1, 2, 0, 3]) net.start(i)
  await net.reach(60)
  const result = await transferred(net, 0, 3, 50, async () => {
    await sleep(2_000)
    net.blackHole(net.sentBytes(0, 1) > net.sentBytes(0, 2) ? 1 : 2)
  })
  assert.equal(result, '20000000 same')
})
