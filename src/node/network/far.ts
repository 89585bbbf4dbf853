import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import type { Daemon, ServicePlace } from '#mycelium'

/** A unix socket of a node's run folder that leads to what another node offers on the overlay. */
export type Far = { socket: string; place: ServicePlace }

/** Connections of the other planes at once, to one place. */
const CONNECTIONS = 128

/** Gives the planes without a network their way to FAR, by the overlay alone. */
export async function serveFar(daemon: Daemon, run: string, far: readonly Far[]): Promise<void> {
  for (const { socket, place } of far) {
    const path = join(run, socket)
    const server = createServer({ allowHalfOpen: true }, (client) => {
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
  }
}
