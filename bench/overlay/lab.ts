import { cpuSecondsOf } from '../peer.ts'
import { type Figures, median } from '../row.ts'
import { createNet, type Kind, type Net } from './net.ts'
import { rival } from './rival.ts'

export type Measured = {
  /** One TCP stream from the first to the last, Mbit/s received. */
  stream: number
  /** CPU seconds of all daemons per gigabyte received. */
  cpu: number
  /** Median round trip in ms while the stream runs. */
  rttLoaded: number
}

const times = (text: string): number[] => [...text.matchAll(/time=([\d.]+)/g)].map((m) => Number(m[1]))

/** Bytes received and bits per second of one TCP stream from the first node to ADDRESS, the last one's. */
export async function stream(net: Net, last: number, address: string, seconds: number) {
  const server = net.spawn(last, ['iperf3', '-s', '-1'])
  await new Promise((done) => setTimeout(done, 500))
  const client = net.spawn(0, ['iperf3', '-J', '-t', String(seconds), '-c', address])
  let report = ''
  client.stdout!.on('data', (text) => (report += text))
  await new Promise((done) => client.once('close', done))
  server.kill()
  const { bytes, bits_per_second } = JSON.parse(report).end.sum_received
  return { bytes: bytes as number, bitsPerSecond: bits_per_second as number }
}

/**
 * Starts the nodes of ORDER, those that are dialled before those that dial: Yggdrasil tries a peer again only after a
 * minute. Until the first reaches the last.
 */
export async function startInTurn(net: Net, order: Iterable<number>): Promise<void> {
  for (const i of order) {
    net.start(i)
    await new Promise((done) => setTimeout(done, 500))
  }
  await net.reach(60)
}

async function startLine(kinds: Kind[]): Promise<Net> {
  const net = createNet(
    kinds,
    kinds.slice(1).map((_, i) => [i + 1, i] as const),
  )
  try {
    await startInTurn(net, kinds.keys())
  } catch (error) {
    net[Symbol.dispose]()
    throw error
  }
  return net
}

/** Median round trip in ms of two nodes that have nothing else to do. */
export async function idleRoundTrip(kind: Kind): Promise<number> {
  using net = await startLine([kind, kind])
  const idle = net.exec(0, ['ping', '-6', '-W', '1', '-c', '100', '-i', '0.02', net.addresses[1]!])
  return median(times(String(idle.stdout)))
}

/** Runs a stream of SECONDS over a line with pings beside it, and takes everything down again. */
async function measureLine(kinds: Kind[], seconds = 5): Promise<Measured> {
  const last = kinds.length - 1
  using net = await startLine(kinds)
  const address = net.addresses[last]!
  const before = cpuSecondsOf(net.pids())
  const beside = net.spawn(0, ['ping', '-6', '-i', '0.02', '-w', String(seconds), address])
  let pings = ''
  beside.stdout!.on('data', (text) => (pings += text))
  const { bytes, bitsPerSecond } = await stream(net, last, address, seconds)
  const used = cpuSecondsOf(net.pids()) - before
  await new Promise((done) => (beside.exitCode === null ? beside.once('close', done) : done(0)))
  return {
    stream: bitsPerSecond / 1e6,
    cpu: used / (bytes / 1e9),
    rttLoaded: median(times(pings)),
  }
}

/** In what is measured, and how much worse or better than the peer it may or must be. */
export type Bar = Pick<Figures, 'unit' | 'better' | 'must'>

type Options = { rounds?: number; take?: (values: number[]) => number }

/** OURS and THEIRS in turn, ROUNDS times; what TAKE makes of each is compared, by default the medians. */
export async function inTurn(
  bar: Bar,
  peerName: string,
  ours: () => Promise<number>,
  theirs: () => Promise<number>,
  options: Options = {},
): Promise<Figures> {
  const { rounds = 5, take = median } = options
  const [own, other]: [number[], number[]] = [[], []]
  for (let round = 0; round < rounds; round++) {
    own.push(await ours())
    other.push(await theirs())
  }
  const [o, p] = [take(own), take(other)]
  const list = (values: number[]) => values.map((v) => v.toFixed(2)).join(' ')
  return { ...bar, ours: o, peer: p, peerName, notes: { ours: list(own), peer: list(other) } }
}

/** MEASURE of ours and of the daemon it is compared with here; BAR is the one against the public daemon. */
export function against(
  bar: Bar,
  measure: (kind: Kind) => Promise<number>,
  options: Options & { own?: Kind } = {},
): Promise<Figures> {
  const { kind, name, bar: barBeside } = rival()
  const held = { ...bar, must: barBeside(bar.unit, bar.must) }
  return inTurn(
    held,
    name,
    () => measure(options.own ?? 'ours'),
    () => measure(kind),
    options,
  )
}

/** Lines of ours and of the other daemon in turn; the medians of WHICH are compared. */
export function compare(bar: Bar, which: keyof Measured, nodes: number, own: Kind = 'ours'): Promise<Figures> {
  return against(bar, async (kind) => (await measureLine(Array.from({ length: nodes }, () => kind)))[which], { own })
}
