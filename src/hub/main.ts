// The hub as a process of its own: HTTP on 127.0.0.1, and a control socket for who started it.
// usage: node main.ts --dir DIR --port PORT --control SOCKET
import { rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { serveUnix } from '#sys'
import { serveHub } from './server.ts'

const { values } = parseArgs({
  options: { dir: { type: 'string' }, port: { type: 'string' }, control: { type: 'string' } },
})
const { dir, port, control } = values
if (!dir || port === undefined || !control) {
  process.stderr.write('usage: main.ts --dir DIR --port PORT --control SOCKET\n')
  process.exit(2)
}
const server = await serveHub({ dir, port: Number(port) })
function end(): void {
  rmSync(control!, { force: true })
  process.exit(0)
}
await serveUnix(control, {
  calls: {
    'GET /status': () => ({ pid: process.pid, port: (server.address() as AddressInfo).port }),
    'POST /down': () => void setTimeout(end, 20),
  },
})
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, end)
