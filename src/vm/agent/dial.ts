import { Duplex } from 'node:stream'
import { ZosError } from '#codec'
import { openInlet, openOutlet, resetError, sendReset } from './channel.ts'
import type { Line } from './line.ts'
import { Frame, getU32, WINDOW } from './protocol.ts'

/** TCP to the guest's loopback as a Duplex; each direction ends by itself. */
export async function dial(
  line: Line,
  port: number,
  options: { host?: '127.0.0.1' | '::1'; signal?: AbortSignal } = {},
): Promise<Duplex> {
  const stream = line.newStream()
  const outlet = openOutlet(line, stream, WINDOW)
  const inlet = openInlet(line, stream)
  let over = false
  const end = (error: Error) => {
    over = true
    line.detach(stream)
    outlet.fail(error)
    inlet.fail(error)
  }
  line.attach(
    stream,
    (type, payload) => {
      if (type === Frame.data) inlet.put(payload)
      else if (type === Frame.end) inlet.end()
      else if (type === Frame.credit) outlet.grant(getU32(payload, 0))
      else if (type === Frame.reset) end(resetError(payload))
    },
    end,
  )
  try {
    await line.request(
      'dial',
      { port, host: options.host ?? '127.0.0.1' },
      { stream, timeout: 30_000, signal: options.signal },
    )
  } catch (error) {
    end(error as Error)
    throw error
  }
  const duplex = Duplex.from({ readable: inlet.readable, writable: outlet.writable } as never)
  duplex.allowHalfOpen = true
  duplex.once('close', () => {
    if (over) return
    // both directions may have ended in order already: then the guest has forgotten the stream
    sendReset(line, stream)
    end(new ZosError('Talk to the port: closed', { code: 'reset', kind: 'node' }))
  })
  return duplex
}
