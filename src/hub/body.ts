import type { IncomingMessage } from 'node:http'
import { ZosError } from '#codec'

/** Bytes of bodies held at a time, over all requests: whoever would go above it is told to try again. */
export type Budget = { left: number }

/** RES is to be given back to the budget when the request is over. */
export type Body = { bytes: Buffer; release: () => void }

/** The whole body, at most LIMIT bytes, within BUDGET. */
export async function readBody(req: IncomingMessage, limit: number, budget: Budget): Promise<Body> {
  const tooLarge = () => new ZosError(`Read request: body above ${limit} bytes`, { code: 'body-too-large' })
  if (Number(req.headers['content-length'] ?? 0) > limit) throw tooLarge()
  const chunks: Buffer[] = []
  let size = 0
  const release = () => {
    budget.left += size
    size = 0
  }
  try {
    for await (const chunk of req as AsyncIterable<Buffer>) {
      size += chunk.length
      budget.left -= chunk.length
      if (size > limit) throw tooLarge()
      if (budget.left < 0) throw busy('too many bytes are on their way')
      chunks.push(chunk)
    }
  } catch (error) {
    release()
    throw error
  }
  return { bytes: Buffer.concat(chunks), release }
}

export const busy = (why: string) =>
  new ZosError(`Answer request: ${why}; try again in a second`, { code: 'busy', kind: 'node' })
