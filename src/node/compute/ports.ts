import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { codeOf, reasonOf, ZosError } from '#codec'
import type { RunRequest } from '#wire'

type Port = RunRequest['ports'][number]

/** Connections through one published port at a time; more wait in the kernel's backlog. */
const MAX_CONNECTIONS = 512

async function forward(client: Socket, dial: () => Promise<Duplex>): Promise<void> {
  client.on('error', () => {})
  try {
    const guest = await dial()
    guest.on('error', () => {})
    // each direction ends by itself: a half-closed connection still carries the answer
    await Promise.allSettled([pipeline(client, guest), pipeline(guest, client)])
  } catch {
    // nothing listens in the guest (yet): the visitor sees a reset, as with any closed port
    client.resetAndDestroy()
  }
}

function listen(port: Port, dial: (guest: number) => Promise<Duplex>): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (client) => void forward(client, () => dial(port.guest)))
    server.maxConnections = MAX_CONNECTIONS
    server.once('error', (cause) =>
      reject(
        new ZosError(
          codeOf(cause) === 'EADDRINUSE'
            ? `Publish port ${port.host}: something else listens on ${port.address}:${port.host}; choose another one`
            : `Publish port ${port.host} on "${port.address}": ${reasonOf(cause)}`,
          { code: 'port-taken', details: port, cause },
        ),
      ),
    )
    server.listen({ host: port.address, port: port.host }, () => resolve(server))
  })
}

/** HOSTS: the ports listened on, in the order they were asked for; 0 asks for any that is free. */
export type Published = { hosts: number[]; close: () => void }

/** Listens on the host's side of PORTS, all or none; each connection is dialled inside the guest. */
export async function publishPorts(
  ports: readonly Port[],
  dial: (guest: number) => Promise<Duplex>,
): Promise<Published> {
  const servers: Server[] = []
  const close = () => {
    for (const server of servers) server.close()
  }
  try {
    for (const port of ports) servers.push(await listen(port, dial))
  } catch (error) {
    close()
    throw error
  }
  return { hosts: servers.map((server) => (server.address() as AddressInfo).port), close }
}
