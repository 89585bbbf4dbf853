import { Duplex } from 'node:stream'
import { openInlet, openOutlet, resetError } from './channel.ts'
import type { Line } from './line.ts'
import { encodeFrame, Frame, getU32, WINDOW } from './protocol.ts'

/** TCP to the guest's loopback as a Duplex; each direction ends by itself. */
export async function dial(
  line: Line,
  port: number,
  options: { host?: '127.0.0.1' | '::1'; signal?: AbortSignal } = {},
): Promise<Duplex> {
  const stream = line.newStream()
  const outlet = openOutlet(line, stream, WINDOW)
  const inlet = openInlet(line, stream)
  const duplex = new Duplex({
    allowHalfOpen: true,
    read: inlet.read,
    write: outlet.write,
    final: outlet.final,
    destroy(error, done) {
      line.detach(stream)
      // the guest has forgotten a stream whose two directions have ended; it ignores this then
      line.send(encodeFrame(Frame.reset, stream, new Uint8Array(0)))
      done(error)
    },
  })
  line.attach(stream, {
    handle(type, payload) {
      if (type === Frame.data) inlet.put(duplex, payload)
      else if (type === Frame.end) duplex.push(null)
      else if (type === Frame.credit) outlet.grant(getU32(payload, 0))
      else if (type === Frame.reset) duplex.destroy(resetError(payload))
    },
    lost: (error) => void duplex.destroy(error),
  })
  // until the caller has it, nobody can listen
  const quiet = () => {}
  duplex.on('error', quiet)
  try {
    const { host = '127.0.0.1', signal } = options
    await line.request('dial', { port, host }, { stream, timeout: 30_000, signal })
  } catch (error) {
    duplex.destroy()
    throw error
  }
  duplex.off('error', quiet)
  return duplex
}
