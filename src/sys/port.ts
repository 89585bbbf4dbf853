import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Below are the ports of well-known services. */
const LOWEST = 10_240
const TRIES = 100

/** The first port that an outgoing connection may get, ip(7). */
function firstOutgoing(): number {
  try {
    return Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1'), 10)
  } catch {
    return 0
  }
}

/** Listens on PORT for a moment; 0: on any. */
async function tried(port: number): Promise<number | undefined> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch (error) {
    if (port === 0) throw error
    return undefined
  }
  const found = (server.address() as { port: number }).port
  server.close()
  await once(server, 'close')
  return found
}

/**
 * A TCP port nobody listens on at 127.0.0.1 now: WANTED if it is free, else any. Where it can be it is none that the kernel
 * gives outgoing connections: one of those might have it when whoever asked comes to listen, now or after a restart.
 */
export async function freePort(wanted = 0): Promise<number> {
  const wish = wanted === 0 ? undefined : await tried(wanted)
  if (wish !== undefined) return wish
  const end = firstOutgoing()
  for (let n = 0; n < TRIES && end > LOWEST; n++) {
    const found = await tried(randomInt(LOWEST, end))
    if (found !== undefined) return found
  }
  return (await tried(0))!
}
