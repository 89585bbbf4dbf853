import assert from 'node:assert/strict'
import test from 'node:test'
import { prometheus } from './metrics.ts'

test('metrics are lines Prometheus reads: declared once, labels escaped, unknown values left out', () => {
  const peer = {
    discovered: false,
    since: '',
    knownSince: '',
    lastUp: null,
    lastError: null,
    bytesIn: 10,
    bytesOut: 20,
    dropped: 0,
  }
  const text = prometheus(
    {
      peersUp: 1,
      routes: 2,
      waitingBytes: 0,
      unreached: [{ subnet: '5ff::/64', error: 'no route', age: 1 }],
      unreachedMore: 236,
      clashes: 4,
      packets: { spoofed: 3, 'odd "name"\\': 1 },
      routing: {},
      faults: {},
      messages: { 'inbox-full': 2 },
      streams: { counters: { opened: 5 }, open: { stranger: 1 } },
      sealing: { session: 1, legacy: 0, none: 0 },
    },
    [
      { ...peer, endpoint: 'tcp://1.2.3.4:9651', direction: 'out', state: 'up', rtt: 1.5 },
      { ...peer, endpoint: 'tcp://[fe80::1]:9651', direction: 'in', state: 'down', rtt: null },
    ],
  )
  const lines = text.trimEnd().split('\n')
  const sample = /^[a-z_]+(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})? -?[0-9.]+$/
  for (const line of lines) assert.ok(line.startsWith('# ') || sample.test(line), line)
  const declared = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2])
  assert.equal(new Set(declared).size, declared.length)
  assert.ok(lines.includes('zos_mycelium_packets_total{reason="odd \\"name\\"\\\\"} 1'))
  assert.ok(lines.includes('zos_mycelium_peer_rtt_seconds{peer="tcp://1.2.3.4:9651",direction="out"} 0.0015'))
  for (const line of ['zos_mycelium_unreached 237', 'zos_mycelium_key_clashes_total 4']) assert.ok(lines.includes(line))
  assert.equal(lines.filter((line) => line.startsWith('zos_mycelium_peer_rtt_seconds')).length, 1)
})
