// The node daemon: keeps workloads as their specs say. Started detached by the first command; ends with `zos down`.
import { mkdirSync, rmSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { reasonOf } from '#codec'
import { serveUnix, within } from '#sys'
import { places } from '#wire'
import { openCompute } from '../compute/open.ts'
import { takeLock, whenRemoved } from '../lock.ts'
import { routes } from './api.ts'
import { openImages } from './images.ts'
import { openStorage } from './storage-client.ts'

const log = (line: string) => process.stderr.write(`${new Date().toISOString()} ${line}\n`)

process.on('uncaughtException', (error) => log(`uncaught: ${error.stack}`))
process.on('unhandledRejection', (error) => log(`unhandled: ${error instanceof Error ? error.stack : error}`))

const { home, run, api } = places()
mkdirSync(home, { recursive: true, mode: 0o700 })
// somebody else won the race to be the daemon of this home: the command that started us will reach that one
const lock = join(home, 'daemon.lock')
if (!takeLock(lock)) process.exit(0)
mkdirSync(run, { recursive: true, mode: 0o711 })

const begun = Date.now()
const hub = process.env.ZOS_HUB || undefined
const storage = openStorage({ home, run, hub, log })
// for measuring what templates are worth
const templates = process.env.ZOS_TEMPLATES !== 'off'
const opening = openCompute({ home, run, storage, templates, resume: true, log }).then(async (compute) => {
  const plane = await storage
  return { ...compute, storage: plane, images: openImages({ home, hub, storage: plane }) }
})
let waitsFor = 'the storage plane'
storage.then(
  () => {
    waitsFor = 'what runs workloads'
  },
  () => {},
)

async function down(): Promise<void> {
  log('down')
  const parts = await opening
  await parts.end()
  await parts.storage.stop()
  server.close()
  rmSync(run, { recursive: true, force: true })
  // the answer must leave first
  setTimeout(() => process.exit(0), 20)
}

/** How long `zos status` waits for all of it. Milliseconds. */
const WHOLE = 10_000

async function status() {
  const common = { pid: process.pid, home, hub: hub ?? `dir:${home}/cas (local store)` }
  const uptime = (Date.now() - begun) / 1000
  if (!(await within(WHOLE, opening)))
    return { ...common, accel: null, workloads: {}, pool: 0, storage: { pid: null }, uptime, waitsFor }
  const { engine, host, machines, storage } = await opening
  const counts: Record<string, number> = {}
  for (const w of engine.views()) counts[w.state] = (counts[w.state] ?? 0) + 1
  return {
    ...common,
    accel: host.accel,
    accelReason: host.accelReason,
    workloads: counts,
    pool: machines.waiting(),
    storage: { pid: storage.pid() },
    uptime,
  }
}

// who started us hears at once that we are there; what needs more waits for it
const whole = opening.then((parts) => routes({ ...parts, down }))
whole.catch(() => {})
const server = await serveUnix(api, whole, {
  calls: { 'GET /ping': () => ({ pid: process.pid, hub: hub ?? null }), 'GET /status': status },
})
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => void down().catch((e: unknown) => log(reasonOf(e))))
whenRemoved(lock, () => {
  log(`"${home}" was removed`)
  down().catch((error: unknown) => {
    log(reasonOf(error))
    process.exit(1)
  })
})
try {
  const { host } = await opening
  log(`up: pid ${process.pid}, ${host.accel}`)
  // otherwise written at the end, which one that is killed does not come to: its successors would compile all of it again
  flushCompileCache()
} catch (error) {
  log(`start: ${reasonOf(error)}`)
  // those who wait are told first
  setTimeout(() => process.exit(1), 100)
}
