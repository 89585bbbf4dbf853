import { once } from 'node:events'
import { createServer } from 'node:net'

/** A TCP port nobody listens on at 127.0.0.1 now: WANTED if it is free, else any. */
export async function freePort(wanted = 0): Promise<number> {
  const server = createServer()
  try {
    server.listen(wanted, '127.0.0.1')
    await once(server, 'listening')
  } catch (error) {
    if (wanted === 0) throw error
    return freePort()
  }
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
