// The embedded chain as a process of its own: JSON-RPC on 127.0.0.1, and a control socket for who started it.
// usage: node main.ts --dir DIR --port PORT --control SOCKET [--block-time MS]
import { rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { serveUnix } from '#sys'
import { openEmbeddedChain } from './embedded.ts'

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    port: { type: 'string' },
    control: { type: 'string' },
    'block-time': { type: 'string' },
  },
})
const { dir, port, control } = values
if (!dir || port === undefined || !control) {
  process.stderr.write('usage: main.ts --dir DIR --port PORT --control SOCKET [--block-time MS]\n')
  process.exit(2)
}
const engine = await openEmbeddedChain({ dir, blockTime: Number(values['block-time'] ?? 0) })
const server = await engine.serve({ port: Number(port) })

let ending = false
async function end(): Promise<void> {
  if (ending) return
  ending = true
  rmSync(control!, { force: true })
  await engine[Symbol.asyncDispose]()
  process.exit(0)
}
await serveUnix(control, {
  calls: {
    'GET /status': () => ({ pid: process.pid, port: (server.address() as AddressInfo).port }),
    'POST /down': () => void setTimeout(end, 20),
  },
})
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end())
