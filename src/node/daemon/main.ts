// The node daemon: keeps workloads as their specs say. Started detached by the first command; ends with `zos down`.
import { mkdirSync, rmSync } from 'node:fs'
import { reasonOf } from '#codec'
import { serveUnix } from '#sys'
import { connectAgent, ensureInitramfs, ensureKernel, killStrays, openVmHost, probeAccel } from '#vm'
import { places } from '#wire'
import { CACHE } from '../cache.ts'
import { Engine } from '../compute/engine.ts'
import { openMachines } from '../compute/machines.ts'
import { Volumes } from '../compute/volumes.ts'
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
const [storage, kernel] = await Promise.all([openStorage({ home, run, hub, log }), ensureKernel({ cacheDir: CACHE })])
const initramfs = await ensureInitramfs({ cacheDir: CACHE, kernelRoot: kernel.modulesRoot })
const accel = await probeAccel({ cacheDir: CACHE, vmlinux: kernel.vmlinux, initramfs: initramfs.path })
const host = await openVmHost({
  home,
  runDir: run,
  accel: accel.kind,
  kernel,
  initramfs,
  awaitAgent: async (socket, signal) => {
    await using _agent = await connectAgent(socket, signal ? { signal, fresh: true } : { fresh: true })
  },
})
const volumes = new Volumes(home)
const machines = openMachines(host, storage, run)
const images = openImages({ home, hub, storage })
const engine = new Engine({ home, machines, storage, volumes, log })
await engine.recover()

async function down(): Promise<void> {
  log('down')
  await Promise.allSettled(engine.list().map((w) => w.halt()))
  await host[Symbol.asyncDispose]()
  killStrays(host)
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
    accelReason: accel.reason,
    home,
    hub: hub ?? `dir:${home}/cas (local store)`,
    workloads: counts,
    pool: [],
    storage: { pid: storage.pid() },
    uptime: (Date.now() - begun) / 1000,
  }
}

const server = await serveUnix(api, routes({ engine, images, storage, volumes, status, down }))
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => void down().catch((e: unknown) => log(reasonOf(e))))
log(`up: pid ${process.pid}, ${host.accel}`)
