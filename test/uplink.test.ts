import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { placesOfServices } from '../src/cli/grid/backing.ts'
import { type Grid, startGrid } from './grid.ts'
import { ROOT, until } from './harness.ts'
import { noNamespaces } from './overlay.ts'

const skip = process.env.ZOS_NIGHTLY ? noNamespaces() : 'takes minutes: ZOS_NIGHTLY=1 runs it'
const NS = `zu${process.pid}`
const NET = `10.${100 + (process.pid % 100)}.${(process.pid >> 7) % 250}`
const [OURS, THEIRS] = [`${NET}.1`, `${NET}.2`]
const children: ChildProcess[] = []
let grid: Grid | undefined
let gate: Server | undefined

const ip = (...args: string[]) => execFileSync('ip', args)
after(() => {
  for (const child of children) child.kill('SIGTERM')
  gate?.close()
  grid?.[Symbol.dispose]()
  spawnSync('ip', ['netns', 'del', NS])
})

/** A namespace whose one link leads here, and on it a way to the relay's port and to nothing else. */
async function uplink(relay: number): Promise<number> {
  ip('netns', 'add', NS)
  ip('link', 'add', NS, 'type', 'veth', 'peer', 'name', 'up0', 'netns', NS)
  ip('addr', 'add', `${OURS}/24`, 'dev', NS)
  ip('link', 'set', NS, 'up')
  for (const words of ['addr add IP/24 dev up0', 'link set up0 up', 'link set lo up', 'route add default via GW'])
    ip('-n', NS, ...words.replace('IP', THEIRS).replace('GW', OURS).split(' '))
  gate = createServer((socket) => {
    const on = connect({ host: '127.0.0.1', port: relay })
    socket.on('error', () => on.destroy()).pipe(on)
    on.on('error', () => socket.destroy()).pipe(socket)
  })
  await new Promise<void>((resolve) => gate!.listen(0, OURS, resolve))
  return (gate.address() as { port: number }).port
}

/** What was captured of FILTER, a line for each frame. */
const captured = (file: string, filter: string): string[] => {
  const { stdout, status, stderr } = spawnSync('tcpdump', ['-nn', '-r', file, filter], { maxBuffer: 1 << 28 })
  assert.equal(status, 0, String(stderr))
  return String(stdout).split('\n').filter(Boolean)
}

test('the uplink of a node over boot, deploy, run and failover: overlay frames, neighbours and nothing else', {
  skip,
}, async () => {
  grid = await startGrid(2)
  const { z, j, spec, second, runs, nodes, status } = grid
  const { relay } = j<{ relay: { port: number } }>('grid', 'status')
  const old = nodes().find((n) => n.name === 'node2')!
  process.kill(old.pid, 'SIGTERM')
  await until('node2 to end', 60, () => nodes().find((n) => n.name === 'node2')?.state !== 'up')
  const port = await uplink(relay.port)
  const file = join(grid.node.work, 'uplink.pcap')
  const dump = spawn('tcpdump', ['-U', '-s', '0', '-i', NS, '-w', file], { stdio: 'ignore' })
  children.push(dump)
  await until('the capture', 20, () => spawnSync('test', ['-s', file]).status === 0)

  process.env.ZOS_HOME = grid.node.home
  const { rpc, hub, relayer } = await placesOfServices()
  const places = ['--rpc', rpc, '--hub', hub, '--relayer', relayer, '--peer', `tcp://${OURS}:${port}`]
  const args = ['--home', grid.home('node2'), ...places]
  const inside = ['netns', 'exec', NS, process.execPath, join(ROOT, 'src/cli/main.ts'), 'node', 'run', ...args]
  children.push(spawn('ip', inside, { stdio: 'ignore', env: { ...process.env, ZOS_HOME: grid.node.home } }))
  await until('node2 to be up', 120, () => nodes().find((n) => n.name === 'node2')?.state === 'up')

  z('deploy', spec('far', ['ports: [80]', 'nodes: [node2]']), '--as', 'alice')
  second()
  await runs('far')
  assert.equal(await grid.page('far/0'), 'hello from a node\n')
  z('deploy', spec('moves', ['mode: fenced', 'standby: "true"', 'nodes: [node1]']), '--as', 'alice')
  second()
  await until('the first of two', 120, async () => (await status('moves')).slots.some((s) => s.state === 'running'))
  process.kill(nodes().find((n) => n.name === 'node1')!.pid, 'SIGKILL')
  await until('the second to take over', 180, async () => {
    const { slots } = await status('moves')
    return slots.some((s) => s.standby && s.node === 'node2' && s.state === 'running')
  })
  const overlay = `tcp and host ${THEIRS} and host ${OURS} and port ${port}`
  // of ICMPv6 solicitations and advertisements that never left the link (RFC 4861), and behind a hop-by-hop header reports of
  // multicast groups (RFC 3810), which neighbour discovery joins; echoes and errors are none of them
  const discovery = 'icmp6 and ip6[7] = 255 and ip6[40] >= 133 and ip6[40] <= 136'
  const groups = 'ip6 dst ff02::16 and ip6[6] = 0 and ip6[40] = 58 and ip6[48] = 143'
  const other = `not arp and not (${discovery}) and not (${groups}) and not (${overlay})`
  assert.deepEqual(captured(file, other), [])
  assert.ok(captured(file, overlay).length > 500)
  const bytes = readFileSync(file)
  for (const word of ['eth_getLogs', 'jsonrpc', '/objects/', 'HTTP/1.1', 'hello from'])
    assert.equal(bytes.indexOf(word), -1, `"${word}" can be read`)

  // what is not of the overlay would have been seen
  for (const [to, what] of [
    [OURS, 'icmp'],
    ['ff02::1%up0', 'icmp6'],
  ] as const) {
    spawnSync('ip', ['netns', 'exec', NS, 'ping', '-c', '1', '-W', '5', to])
    await until('the ping', 20, () => captured(file, `${what} and ${other}`).length > 0)
  }
})
