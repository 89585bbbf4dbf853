import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { inTurn, stream } from './overlay/lab.ts'
import { createNet, type Net, sh } from './overlay/net.ts'
import { must } from './peer.ts'
import type { Benchmark } from './row.ts'

const SECONDS = 5
/** Its control socket lies in one folder for all namespaces. */
const device = (i: number) => `wg${process.pid % 10000}${i}`

const pair = () => createNet(['ours', 'ours'], [[1, 0]])

async function ours(): Promise<number> {
  using net = pair()
  for (const i of [0, 1]) net.start(i)
  await net.reach(60)
  return (await stream(net, 1, net.addresses[1]!, SECONDS)).bitsPerSecond / 1e6
}

const wg = (args: string[], input = '') => String(must(spawnSync('wg', args, { input }), `wg ${args[0]}`)).trim()

async function deviceThere(net: Net, i: number): Promise<void> {
  const end = performance.now() + 10_000
  while (net.exec(i, ['ip', 'link', 'show', device(i)]).status !== 0) {
    if (performance.now() > end) throw new Error('wireguard-go made no interface within 10 s')
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Debian's wireguard-go on the same cable. */
async function wireguard(): Promise<number> {
  using net = pair()
  const secrets = [wg(['genkey']), wg(['genkey'])]
  const keys = secrets.map((secret) => wg(['pubkey'], secret))
  // it refuses to run on kernels that have WireGuard of their own, unless told so
  const insist = 'WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1'
  const daemons = [0, 1].map((i) => net.spawn(i, ['env', insist, 'wireguard-go', '-f', device(i)]))
  try {
    for (const i of [0, 1]) {
      await deviceThere(net, i)
      // the address on the cable: node 1 dials, so it is the first of the edge
      const endpoint = `10.93.0.${i === 0 ? 1 : 2}:51820`
      const secret = `${net.keyFile(i)}.wg`
      writeFileSync(secret, secrets[i]!, { mode: 0o600 })
      const peer = ['peer', keys[1 - i]!, 'allowed-ips', 'fd00::/64', 'endpoint', endpoint]
      const set = ['wg', 'set', device(i), 'listen-port', '51820', 'private-key', secret, ...peer]
      sh('ip', ['netns', 'exec', net.namespace(i), ...set])
      sh('ip', ['-n', net.namespace(i), 'addr', 'add', `fd00::${i + 1}/64`, 'dev', device(i)])
      sh('ip', ['-n', net.namespace(i), 'link', 'set', device(i), 'up'])
    }
    return (await stream(net, 1, 'fd00::2', SECONDS)).bitsPerSecond / 1e6
  } finally {
    for (const daemon of daemons) daemon.kill('SIGKILL')
  }
}

export default {
  name: 'overlay-wireguard',
  claim: 'one TCP stream between two nodes',
  run: () => inTurn({ unit: 'Mbit/s', better: 'higher', must: 3 }, 'wireguard-go', ours, wireguard),
} satisfies Benchmark
