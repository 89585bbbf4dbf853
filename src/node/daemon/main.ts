// The node daemon: keeps workloads as their specs say. Started detached by the first command; ends with `zos down`.
import { mkdirSync, rmSync } from 'node:fs'
import { reasonOf } from '#codec'
import { serveUnix } from '#sys'
import { places } from '#wire'
import { openCompute } from '../compute/open.ts'
import { routes } from './api.ts'
import { openImages } from './images.ts'
import { lockHome } from './lock.ts'
import { openStorage } from './storage-client.ts'

const log = (line: string) => process.stderr.write(`${new Date().toISOString()} ${line}\n`)

process.on('uncaughtException', (error) => log(`uncaught: ${error.stack}`))
process.on('unhandledRejection', (error) => log(`unhandled: ${error instanceof Error ? error.stack : error}`))

const { home, run, api } = places()
mkdirSync(home, { recursive: true, mode: 0o700 })
// somebody else won the race to be the daemon of this home: the command that started us will reach that one
if (!lockHome(home)) process.exit(0)
mkdirSync(run, { recursive: true, mode: 0o711 })

const begun = Date.now()
const hub = process.env.ZOS_HUB || undefined
const opening = openStorage({ home, run, hub, log })
// for measuring what templates are worth
const templates = process.env.ZOS_TEMPLATES !== 'off'
const { engine, machines, volumes, host, end } = await openCompute({
  home,
  run,
  storage: opening,
  templates,
  resume: true,
  log,
})
const storage = await opening
const images = openImages({ home, hub, storage })

async function down(): Promise<void> {
  log('down')
  await end()
  await storage.stop()
  server.close()
  rmSync(run, { recursive: true, force: true })
  // the answer must leave first
  setTimeout(() => process.exit(0), 20)
}

const status = async () => {
  const counts: Record<string, number> = {}
  for (const w of engine.views()) counts[w.state] = (counts[w.state] ?? 0) + 1
  return {
    pid: process.pid,
    accel: host.accel,
    accelReason: host.accelReason,
    home,
    hub: hub ?? `dir:${home}/cas (local store)`,
    workloads: counts,
    pool: machines.waiting(),
    storage: { pid: storage.pid() },
    uptime: (Date.now() - begun) / 1000,
  }
}

const server = await serveUnix(api, routes({ engine, machines, images, storage, volumes, status, down }))
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => void down().catch((e: unknown) => log(reasonOf(e))))
log(`up: pid ${process.pid}, ${host.accel}`)
