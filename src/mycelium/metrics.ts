import type { PeerStatus } from './daemon/peers.ts'

/** What `GET /status` says that is counted. */
type Counted = {
  peersUp: number
  routes: number
  waitingBytes: number
  unreached: readonly unknown[]
  unreachedMore: number
  clashes: number
  packets: Record<string, number>
  routing: Record<string, number>
  faults: Record<string, number>
  sealing: Record<string, number>
  messages: Record<string, number>
  streams: { counters: Record<string, number>; open: Record<string, number> }
}

/** A label's value, escaped as the exposition format demands. */
const quoted = (value: string): string => `"${value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`

/** The state of a node in the text format of Prometheus (prometheus.io, "Exposition formats", 0.0.4). */
export function prometheus(status: Counted, peers: readonly PeerStatus[]): string {
  const lines: string[] = []
  const metric = (name: string, type: 'gauge' | 'counter', help: string, rows: [labels: string, value: number][]) => {
    lines.push(`# HELP zos_mycelium_${name} ${help}`, `# TYPE zos_mycelium_${name} ${type}`)
    for (const [labels, value] of rows) lines.push(`zos_mycelium_${name}${labels} ${value}`)
  }
  const by = (label: string, counts: Record<string, number>): [string, number][] =>
    Object.entries(counts).map(([name, value]) => [`{${label}=${quoted(name)}}`, value])
  const ofPeers = (value: (peer: PeerStatus) => number | null): [string, number][] =>
    peers.flatMap((peer) => {
      const n = value(peer)
      const labels = `{peer=${quoted(peer.endpoint)},direction=${quoted(peer.direction)}}`
      return n === null ? [] : [[labels, n] as [string, number]]
    })

  metric('peers_up', 'gauge', 'Peer connections that stand.', [['', status.peersUp]])
  metric('routes', 'gauge', 'Subnets with a route in use.', [['', status.routes]])
  metric('waiting_bytes', 'gauge', 'Packets that wait for a route.', [['', status.waitingBytes]])
  metric('unreached', 'gauge', 'Destinations of this node that failed last and have no route.', [
    ['', status.unreached.length + status.unreachedMore],
  ])
  metric('key_clashes_total', 'counter', 'Times another node announced what is ours: two have one key.', [
    ['', status.clashes],
  ])
  metric('remotes', 'gauge', 'Other nodes by how they are spoken to.', by('sealing', status.sealing))
  metric('packets_total', 'counter', 'Packets dropped, refused or passed on, by reason.', by('reason', status.packets))
  metric('routing_total', 'counter', 'Routing messages not taken, by reason.', by('reason', status.routing))
  metric('messages_total', 'counter', 'Pieces of messages not taken, by reason.', by('reason', status.messages))
  const { counters, open } = status.streams
  metric('streams_total', 'counter', 'Streams that others opened, or were refused, by reason.', by('reason', counters))
  metric('streams_open', 'gauge', 'Streams open, by who opened them.', by('rank', open))
  metric('faults_total', 'counter', 'Peers cut off, by reason.', by('reason', status.faults))
  metric(
    'peer_up',
    'gauge',
    'Whether the connection stands.',
    ofPeers((peer) => Number(peer.state === 'up')),
  )
  metric(
    'peer_rtt_seconds',
    'gauge',
    'Round trip.',
    ofPeers((peer) => (peer.rtt === null ? null : peer.rtt / 1000)),
  )
  metric(
    'peer_in_bytes_total',
    'counter',
    'Bytes from the peer.',
    ofPeers((peer) => peer.bytesIn),
  )
  metric(
    'peer_out_bytes_total',
    'counter',
    'Bytes to the peer.',
    ofPeers((peer) => peer.bytesOut),
  )
  metric(
    'peer_dropped_total',
    'counter',
    'Packets its queue had no room for.',
    ofPeers((peer) => peer.dropped),
  )
  return `${lines.join('\n')}\n`
}
