import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { type Daemon, parseServicePlace } from '#mycelium'
import type { Far } from './ways.ts'

/** Connections at once, to one place. */
const CONNECTIONS = 128

/** Gives programs of this machine their way to FAR by sockets in the folder RUN, over the overlay alone. */
export async function serveFar(
  daemon: Pick<Daemon, 'dial'>,
  run: string,
  far: readonly Far[],
): Promise<AsyncDisposable> {
  const servers: { server: Server; path: string }[] = []
  const clients = new Set<Socket>()
  for (const { socket, place: text } of far) {
    const path = join(run, socket)
    const place = parseServicePlace(text)!
    const server = createServer({ allowHalfOpen: true }, (client) => {
      clients.add(client)
      client.once('close', () => clients.delete(client))
      // whichever end breaks breaks the other
      pipeline(client, daemon.dial(place.address, place.service), client, () => {})
    })
    server.maxConnections = CONNECTIONS
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, resolve)
    })
    chmodSync(path, 0o600)
    servers.push({ server, path })
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const { server, path } of servers) {
        server.close()
        rmSync(path, { force: true })
      }
      for (const client of clients) client.destroy()
    },
  }
}
