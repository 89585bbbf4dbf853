import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { cpuSecondsOf, must } from '../peer.ts'
import { median, type Row } from '../row.ts'

/** A line of overlay daemons in network namespaces of their own, ours or the public one ($MYCELIUM_BIN). */
export type Kind = 'ours' | 'public'
export type Measured = {
  /** One TCP stream from the first to the last, Mbit/s received. */
  stream: number
  /** CPU seconds of all daemons per gigabyte received. */
  cpu: number
  /** Median round trip in ms, idle and while the stream runs. */
  rtt: number
  rttLoaded: number
}

const zos = resolve(import.meta.dirname, '../../zos')
const sh = (file: string, args: string[]) => must(spawnSync(file, args), `${file} ${args.join(' ')}`).toString()

export function publicDaemon(): string {
  const bin = process.env.MYCELIUM_BIN
  if (!bin) throw new Error('set MYCELIUM_BIN to a public Mycelium daemon (0.7) to measure against it')
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root')
  return bin
}

const times = (text: string): number[] => [...text.matchAll(/time=([\d.]+)/g)].map((m) => Number(m[1]))

function command(kind: Kind, key: string, dir: string, i: number, peers: string[]): string[] {
  if (kind === 'public') {
    const common = [
      publicDaemon(),
      '-k',
      key,
      '--tun-name',
      'ov0',
      '--disable-peer-discovery',
      '-t',
      '9651',
      '-q',
      '9651',
    ]
    return peers.length ? [...common, '--peers', ...peers] : common
  }
  const run = [zos, 'mycelium', 'run', '--key-file', key, '--listen', 'tcp://[::]:9651', '--tun', 'ov0']
  return [...run, '--api', `unix:${dir}/${i}.sock`, ...peers.flatMap((p) => ['--peer', p])]
}

/** Starts the line, runs a stream of SECONDS with pings beside it, and takes everything down again. */
export async function measureLine(kinds: Kind[], seconds = 5): Promise<Measured> {
  const dir = mkdtempSync(join(tmpdir(), 'zos-overlay-'))
  const id = `zo${process.pid % 10000}`
  const daemons: ChildProcess[] = []
  const addresses: string[] = []
  const last = kinds.length - 1
  const inNs = (i: number, args: string[]) => ['netns', 'exec', `${id}${i}`, ...args]
  const ping = (args: string[]) => spawnSync('ip', inNs(0, ['ping', '-6', '-W', '1', ...args, addresses[last]!]))
  try {
    for (let i = 0; i <= last; i++) {
      sh('ip', ['netns', 'add', `${id}${i}`])
      sh('ip', ['-n', `${id}${i}`, 'link', 'set', 'lo', 'up'])
      if (i > 0) link(id, i)
      const key = join(dir, `${i}.key`)
      addresses.push(JSON.parse(sh(zos, ['mycelium', 'keygen', key, '--json'])).address)
      const peers = i > 0 ? [`tcp://10.93.${i}.1:9651`] : []
      daemons.push(spawn('ip', inNs(i, command(kinds[i]!, key, dir, i, peers)), { stdio: 'ignore', cwd: dir }))
    }
    const end = performance.now() + 60_000
    while (ping(['-c', '1']).status !== 0) if (performance.now() > end) throw new Error(`${kinds.join('-')}: no answer`)
    const rtt = median(times(String(ping(['-c', '100', '-i', '0.02']).stdout)))
    const server = spawn('ip', inNs(last, ['iperf3', '-s', '-1']), { stdio: 'ignore' })
    await new Promise((done) => setTimeout(done, 500))
    const pids = daemons.map((d) => d.pid!)
    const before = cpuSecondsOf(pids)
    const beside = spawn('ip', inNs(0, ['ping', '-6', '-i', '0.02', '-w', String(seconds), addresses[last]!]))
    let pings = ''
    beside.stdout.on('data', (text) => (pings += text))
    const client = spawn('ip', inNs(0, ['iperf3', '-J', '-t', String(seconds), '-c', addresses[last]!]))
    let report = ''
    client.stdout.on('data', (text) => (report += text))
    await new Promise((done) => client.once('close', done))
    const used = cpuSecondsOf(pids) - before
    await new Promise((done) => (beside.exitCode === null ? beside.once('close', done) : done(0)))
    server.kill()
    const { bytes, bits_per_second } = JSON.parse(report).end.sum_received
    return { stream: bits_per_second / 1e6, cpu: used / (bytes / 1e9), rtt, rttLoaded: median(times(pings)) }
  } finally {
    for (const daemon of daemons) daemon.kill('SIGKILL')
    for (let i = 0; i <= last; i++) spawnSync('ip', ['netns', 'del', `${id}${i}`])
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Joins namespace I to the one before it. */
function link(id: string, i: number): void {
  const [near, far] = [`${id}a${i}`, `${id}b${i}`]
  sh('ip', ['link', 'add', near, 'netns', `${id}${i - 1}`, 'type', 'veth', 'peer', 'name', far, 'netns', `${id}${i}`])
  for (const [ns, device, host] of [
    [i - 1, near, 1],
    [i, far, 2],
  ] as const) {
    sh('ip', ['-n', `${id}${ns}`, 'addr', 'add', `10.93.${i}.${host}/24`, 'dev', device])
    sh('ip', ['-n', `${id}${ns}`, 'link', 'set', device, 'up'])
  }
}

type Claim = Pick<Row, 'name' | 'claim' | 'unit' | 'better' | 'must'>

/** Ours and the public daemon in turn, five times; the medians of WHICH are compared. */
export async function compare(claim: Claim, which: keyof Measured, nodes: number): Promise<Row> {
  const line = (kind: Kind): Kind[] => Array.from({ length: nodes }, () => kind)
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = 0; round < 5; round++) {
    ours.push((await measureLine(line('ours')))[which])
    theirs.push((await measureLine(line('public')))[which])
  }
  const [o, p] = [median(ours), median(theirs)]
  const notes = { ours: ours.map((v) => v.toFixed(2)).join(' '), public: theirs.map((v) => v.toFixed(2)).join(' ') }
  return { ...claim, ours: o, peer: p, peerName: 'public daemon', ratio: o / p, notes }
}
