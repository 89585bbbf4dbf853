// The storage plane: serves disks over NBD. A process of its own, so that it outlives the daemon that starts it.
// usage: node main.ts --home DIR --run DIR [--hub dir:DIR]
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { reasonOf } from '#codec'
import { serveUnix, sleep } from '#sys'
import { holderOf, takeLock, whenRemoved } from '../lock.ts'
import { CHUNKS_SOCKET } from '../network/place.ts'
import { routes } from './api.ts'
import { serveChunks } from './chunks.ts'
import { NO_START, STORAGE_LOCK } from './place.ts'
import { openPlane } from './plane.ts'

const log = (line: string) => process.stderr.write(`${new Date().toISOString()} storage: ${line}\n`)
process.on('uncaughtException', (error) => log(`uncaught: ${error.stack}`))
process.on('unhandledRejection', (error) => log(`unhandled: ${error instanceof Error ? error.stack : error}`))

const { values } = parseArgs({
  options: { home: { type: 'string' }, run: { type: 'string' }, hub: { type: 'string' } },
})
if (!values.home || !values.run) {
  log('usage: main.ts --home DIR --run DIR [--hub dir:DIR]')
  process.exit(2)
}

process.umask(0o077) // sockets are nobody else's from the moment they exist
const { run } = values
mkdirSync(run, { recursive: true, mode: 0o711 })
const path = join(run, 'storage.sock')
mkdirSync(values.home, { recursive: true, mode: 0o700 })
const lock = join(values.home, STORAGE_LOCK)
// a second one would take the sockets away from the first, whether that answers or not; who only looks whose it is has
// the lock for a moment
for (let tries = 0; !takeLock(lock); tries++) {
  const other = holderOf(lock)
  if (other !== undefined && tries > 0) {
    log(`pid ${other} is the storage plane of "${values.home}" already`)
    process.exit(0)
  }
  await sleep(50)
}
const open = () => {
  try {
    return openPlane({ home: values.home!, hub: values.hub ?? process.env.ZOS_HUB, log })
  } catch (error) {
    log(reasonOf(error))
    process.exit(NO_START)
  }
}
const plane = open()
const server = await serveUnix(path, routes(plane))
const chunks = join(run, CHUNKS_SOCKET)
const shared = await serveChunks(chunks, plane.library.store, plane.images)
log(`up: pid ${process.pid}`)

let ending = false
async function end(): Promise<void> {
  if (ending) return
  ending = true
  server.close()
  shared.close()
  for (const socket of [path, chunks]) rmSync(socket, { force: true })
  await plane[Symbol.asyncDispose]()
  process.exit(0)
}
const failed = (error: unknown) => {
  log(`end: ${reasonOf(error)}`)
  process.exit(1)
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end().catch(failed))
// where a daemon is, that notices first, and its machines end before their disks do
whenRemoved(lock, () => void end().catch(failed), 60_000)
