// The compute plane of a node: runs workloads. A process of its own, without a network; machines outlive it.
// usage: node main.ts --home DIR --run DIR
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { reasonOf } from '#codec'
import { serveUnix } from '#sys'
import { openStorage } from '../daemon/storage-client.ts'
import { planeLog } from '../supervisor/log.ts'
import { routes } from './api.ts'
import { openCompute } from './open.ts'

const log = planeLog('compute')
const { values } = parseArgs({ options: { home: { type: 'string' }, run: { type: 'string' } } })
const { home, run } = values
if (!home || !run) {
  log('usage: main.ts --home DIR --run DIR')
  process.exit(2)
}

const storage = await openStorage({ home, run, hub: undefined, elsewhere: true, log })
// classes are warmed by use: the machine may hold several nodes
const compute = await openCompute({ home, run, storage, templates: true, resume: false, warm: [], log })
const path = join(run, 'compute.sock')
const server = await serveUnix(path, routes(compute, storage))
log(`up: pid ${process.pid}, ${compute.host.accel}`)

let ending = false
/** The node goes down: its machines with it. */
async function end(): Promise<void> {
  server.close()
  rmSync(path, { force: true })
  await compute.end()
  process.exit(0)
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (ending) return
    ending = true
    end().catch((error: unknown) => {
      log(`end: ${reasonOf(error)}`)
      process.exit(1)
    })
  })
}
