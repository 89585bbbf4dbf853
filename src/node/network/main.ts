// The network plane of a node: the only one with a network, and without disks. Carries the hub to the planes that have none.
// usage: node main.ts --run DIR --hub URL[,URL…]
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { planeLog } from '../supervisor/log.ts'
import { serveHubs } from './hubs.ts'

const log = planeLog('network')
const { values } = parseArgs({ options: { run: { type: 'string' }, hub: { type: 'string' } } })
if (!values.run || !values.hub) {
  log('usage: main.ts --run DIR --hub URL[,URL…]')
  process.exit(2)
}
const path = join(values.run, 'network.sock')
await serveHubs(path, values.hub.split(','))
log(`up: pid ${process.pid}`)
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    rmSync(path, { force: true })
    process.exit(0)
  })
}
