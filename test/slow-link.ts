// A slow line between a client and a server on this machine: delay, jitter and rate, as a relay of TCP connections.
// Many kernels lack netem. A TCP relay keeps the order and loses nothing; a connection costs one round trip to open.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { random } from './random.ts'

export type LinkOptions = {
  /** Milliseconds a byte is under way, each direction. */
  delay: number
  /** Bytes per second and direction, for all connections together. */
  rate: number
  /** Milliseconds added at random, at most; the same SEED gives the same line. */
  jitter?: number
  seed?: number
}

export type Link = AsyncDisposable & {
  port: number
  /** Bytes passed so far: UP from the clients, DOWN to them. */
  bytes: { up: number; down: number }
}

/** Bytes of one direction under way at most; more waits at its sender, as with a full queue. */
const UNDER_WAY = 1 << 20
/** What is sent at a time: small against the rate, so that connections share it. */
const PIECE = 16 << 10

/** One direction of the line, shared by all connections. */
function lane({ delay, rate, jitter = 0, seed = 1 }: LinkOptions, count: (bytes: number) => void) {
  const next = random(seed)
  let free = 0
  return (from: Socket, to: Socket, opening: number) => {
    const queue: { at: number; act: () => void }[] = []
    let last = 0
    let underWay = 0
    /** One timer for the first in the queue: timers of their own could overtake each other. */
    const wait = () => {
      setTimeout(
        () => {
          const now = performance.now()
          while (queue.length > 0 && queue[0]!.at <= now + 0.5) queue.shift()!.act()
          if (queue.length > 0) wait()
        },
        Math.max(0, queue[0]!.at - performance.now()),
      )
    }
    const arrive = (at: number, act: () => void) => {
      last = Math.max(last, at + delay + next() * jitter)
      if (queue.push({ at: last, act }) === 1) wait()
    }
    from.on('data', (bytes: Buffer) => {
      for (let at = 0; at < bytes.length; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE)
        free = Math.max(free, performance.now() + opening) + (piece.length / rate) * 1000
        opening = 0
        underWay += piece.length
        arrive(free, () => {
          underWay -= piece.length
          count(piece.length)
          if (!to.destroyed) to.write(piece)
          if (underWay < UNDER_WAY) from.resume()
        })
      }
      if (underWay >= UNDER_WAY) from.pause()
    })
    from.on('end', () => arrive(performance.now(), () => to.end()))
    from.on('close', () => arrive(performance.now(), () => to.destroy()))
    from.on('error', () => {})
  }
}

/** Opens a line to PORT on this machine. */
export async function slowLink(port: number, options: LinkOptions): Promise<Link> {
  const bytes = { up: 0, down: 0 }
  const up = lane(options, (n) => {
    bytes.up += n
  })
  const down = lane({ ...options, seed: (options.seed ?? 1) + 1 }, (n) => {
    bytes.down += n
  })
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const far = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
    for (const s of [client, far]) sockets.add(s.on('close', () => sockets.delete(s)))
    up(client, far, 2 * options.delay) // the handshake
    down(far, client, 0)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    bytes,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const s of sockets) s.destroy()
      await once(server, 'close')
    },
  }
}
