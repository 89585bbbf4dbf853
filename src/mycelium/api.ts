import type { Server } from 'node:http'
import { ZosError } from '#codec'
import { closeFd, connectUnix, type Handler, serveUnix } from '#sys'
import { parseOverlayAddress } from './address.ts'
import { adminCalls } from './admin.ts'
import type { Daemon } from './daemon/daemon.ts'
import { messageCalls } from './messages/api.ts'

/** Lines a slow reader of a capture may lag behind before it loses some. */
const CAPTURE_BACKLOG = 1 << 20
const PROBE_TIMEOUT = 10_000

/**
 * The daemon's API: HTTP with JSON on a unix socket only its owner may use.
 * GET /status, /peers, /routes; POST /probe {address, hopLimit, timeout}; stream /capture {peer?}: a line per frame;
 * under /api/v1 what the public daemon has: its state (admin.ts), messages (messages/api.ts).
 */
export async function serveApi(daemon: Daemon, path: string): Promise<Server> {
  if (isTaken(path))
    throw new ZosError(`Serve the API on "unix:${path}": another daemon answers there; give another --api`, {
      code: 'api-taken',
    })
  const probe: Handler = ({ body }) => {
    const { address, hopLimit, timeout } = (body ?? {}) as { address?: unknown; hopLimit?: unknown; timeout?: unknown }
    const hops = Number(hopLimit ?? 64)
    const wait = Number(timeout ?? 1_000)
    if (!(hops >= 1 && hops <= 255) || !(wait > 0 && wait <= PROBE_TIMEOUT))
      throw new ZosError(`Send a probe: hop limit 1 to 255 and at most ${PROBE_TIMEOUT} ms are allowed`, {
        code: 'bad-probe',
      })
    return daemon.probe(parseOverlayAddress(String(address)), hops, wait)
  }
  return serveUnix(path, {
    calls: {
      'GET /status': () => daemon.status(),
      'GET /peers': () => daemon.peers(),
      'GET /routes': () => daemon.routes(),
      'POST /probe': probe,
      ...adminCalls(daemon),
      ...(daemon.messages ? messageCalls(daemon.messages) : {}),
    },
    upgrades: {
      'POST /capture': async ({ body }, open) => {
        const peer = (body as { peer?: unknown } | null)?.peer
        const stream = open()
        const stop = await daemon.capture(typeof peer === 'string' ? peer : undefined, (line) => {
          if (stream.writableLength < CAPTURE_BACKLOG) stream.write(`${line}\n`)
        })
        stream.resume()
        stream.once('close', () => void stop())
        stream.once('end', () => stream.end())
      },
    },
  })
}

/** True when a program listens there; a socket whose program has ended refuses. */
function isTaken(path: string): boolean {
  const fd = connectUnix(path)
  if (fd < 0) return false
  closeFd(fd)
  return true
}
