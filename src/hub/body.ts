import type { IncomingMessage } from 'node:http'
import { ZosError } from '#codec'

/** The whole body, at most LIMIT bytes. */
export async function readBody(req: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) throw new ZosError(`Read request: body above ${limit} bytes`, { code: 'body-too-large' })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
