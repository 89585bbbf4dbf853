// The overlay over links that lose, delay and reorder: a line of three namespaces. Needs root and /dev/net/tun.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { createKeyFile, formatAddress } from '#mycelium'
import { callUnix, run, tryRun, until } from '#sys'
import { createLine, type Impairment } from './impaired-link.ts'
import { impairedLink } from './impaired-net.ts'
import { noNamespaces, transferred } from './overlay.ts'

const skip = process.env.ZOS_NIGHTLY ? noNamespaces() : 'half a minute: ZOS_NIGHTLY=1'
const zos = resolve(import.meta.dirname, '../zos')
const id = `zd${process.pid % 10000}`
const dir = mkdtempSync(join(tmpdir(), 'zos-impaired-'))
const children: ChildProcess[] = []
const ns = (i: number) => `${id}${i}`
const addresses: string[] = []
const LINE: Impairment = { loss: 0.02, delay: 10, jitter: 5, seed: 1 }

/** Link N lies between node N and node N + 1, which have addresses 1 and 2 on it. */
async function link(n: number): Promise<void> {
  const end = (which: 0 | 1) => ({
    namespace: ns(n + which),
    device: `l${n}`,
    address: `fd00:94:${n}::${which + 1}/64`,
  })
  children.push(await impairedLink(`${id}l${n}`, [end(0), end(1)], { ...LINE, seed: n + 1 }))
}

const ping = (from: number, to: string, ...args: string[]) =>
  tryRun('ip', ['netns', 'exec', ns(from), 'ping', '-6', '-n', '-W', '5', ...args, to], { timeout: 120_000 })

before(async () => {
  if (skip) return
  for (const i of [0, 1, 2]) {
    await run('ip', ['netns', 'add', ns(i)])
    await run('ip', ['-n', ns(i), 'link', 'set', 'lo', 'up'])
    addresses.push(formatAddress((await createKeyFile(join(dir, `${i}.key`))).address))
  }
  for (const n of [0, 1]) await link(n)
  for (const i of [0, 1, 2]) {
    const peers = i === 1 ? ['--peer', 'tcp://[fd00:94:0::1]:9651', '--peer', 'tcp://[fd00:94:1::2]:9651'] : []
    const args = ['mycelium', 'run', '--key-file', join(dir, `${i}.key`), '--listen', 'tcp://[::]:9651', '--tun', 'ov0']
    const more = ['--api', `unix:${join(dir, `${i}.sock`)}`, '--no-discovery', '--sessions-only', ...peers]
    children.push(spawn('ip', ['netns', 'exec', ns(i), zos, ...args, ...more], { stdio: 'ignore' }))
  }
})

after(async () => {
  for (const child of children) child.kill('SIGKILL')
  if (!skip) for (const i of [0, 1, 2]) await tryRun('ip', ['netns', 'del', ns(i)])
  rmSync(dir, { recursive: true, force: true })
})

test('a line loses, delays and reorders as it was told, the same way each time', () => {
  const arrivals = () => {
    const line = createLine({ loss: 0.1, delay: 20, jitter: 10, seed: 7 })
    const order: [number, number][] = []
    for (let now = 0; now < 2_100; now++) {
      if (now < 2_000) line.put(0, Buffer.from([now >> 8, now & 255]), now)
      for (let one = line.take(now); one; one = line.take(now)) order.push([one.bytes.readUInt16BE(), now])
    }
    return order
  }
  const all = arrivals()
  assert.deepEqual(arrivals(), all)
  assert.ok(Math.abs(all.length - 1_800) < 60, `${all.length} of 2000`)
  for (const [sent, came] of all) assert.ok(came - sent >= 20 && came - sent <= 31, `${came - sent} ms`)
  assert.ok(all.some(([sent], n) => n > 0 && sent < all[n - 1]![0]))
})

test('what the links do is what they were asked to: some of the pings are lost, none is quick', {
  skip,
}, async () => {
  const { stdout } = await ping(0, 'fd00:94:0::2', '-c', '300', '-i', '0.02', '-q')
  const [, received] = /(\d+) received/.exec(stdout.toString())!
  const [, least] = /= ([\d.]+)\//.exec(stdout.toString())!
  assert.ok(Number(received) > 270 && Number(received) < 300, `${received} of 300`)
  assert.ok(Number(least) >= 20, `${least} ms`)
})

test('over two such links nothing of the overlay is lost: pings, datagrams of 60 kB, a stream bit for bit', {
  skip,
}, async () => {
  await until('the ends to reach each other', 60_000, async () => (await ping(0, addresses[2]!, '-c', '1')).code === 0)
  assert.match((await ping(0, addresses[2]!, '-c', '100', '-i', '0.05')).stdout.toString(), / 0% packet loss/)
  assert.match(
    (await ping(2, addresses[0]!, '-c', '10', '-i', '0.5', '-s', '60000')).stdout.toString(),
    / 0% packet loss/,
  )
  const net = {
    addresses,
    spawn: (i: number, args: string[]) =>
      spawn('ip', ['netns', 'exec', ns(i), ...args], { stdio: ['ignore', 'pipe', 'ignore'] }),
  }
  assert.equal(await transferred(net, 0, 2, 5, async () => {}, 20), '4000000 same')
  for (const i of [0, 1, 2]) {
    type Status = Record<'packets' | 'faults', Record<string, number>>
    const { packets, faults } = await callUnix<Status>(join(dir, `${i}.sock`), 'GET', '/status')
    assert.deepEqual(faults, {}, `node ${i}`)
    for (const name of ['not-authentic', 'spoofed', 'replayed']) assert.equal(packets[name], undefined, name)
  }
})
