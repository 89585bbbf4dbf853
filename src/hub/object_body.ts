import type { FileHandle } from 'node:fs/promises'
import type { ChunkBackend } from '#cas'
import { type Budget, busy } from './body.ts'
import type { Reply } from './routes.ts'

type Part = { status: number; start: number; end: number; headers: Record<string, string> }

/** One range of SIZE bytes (RFC 9110, 14.2); what asks for none, or for several, gets all. */
function partOf(size: number, range: string | undefined): Part {
  const all = { status: 200, start: 0, end: size, headers: {} }
  const [, from, to] = /^bytes=(\d{0,10})-(\d{0,10})$/.exec(range ?? '') ?? []
  if (from === undefined || to === undefined || (from === '' && to === '')) return all
  const start = from === '' ? Math.max(0, size - Number(to)) : Number(from)
  const end = from === '' || to === '' ? size : Math.min(size, Number(to) + 1)
  if (start >= end) return { status: 416, start: 0, end: 0, headers: { 'content-range': `bytes */${size}` } }
  return { status: 206, start, end, headers: { 'content-range': `bytes ${start}-${end - 1}/${size}` } }
}

/** What is in FILE, sent as it is fetched: of what waits for a slow client next to nothing is in memory. */
async function ofFile(file: FileHandle, range: string | undefined): Promise<Reply> {
  const { status, start, end, headers } = partOf((await file.stat()).size, range)
  if (start === end) {
    await file.close()
    return { status, headers, ...(status === 200 ? { body: Buffer.alloc(0) } : {}) }
  }
  const body = file.createReadStream({ start, end: end - 1 })
  return { status, body, headers: { ...headers, 'content-length': String(end - start) } }
}

/** An object with its range as FIND gives it; a bucket's is held whole, within BUDGET, until the client has it. */
export async function objectReply(
  objects: ChunkBackend,
  id: string,
  options: {
    range: string | undefined
    budget: Budget
    find: <T>(act: () => Promise<T | undefined>) => Promise<T | undefined>
  },
): Promise<Reply> {
  const { range, budget, find } = options
  const { file } = objects
  if (file) {
    const opened = await find(() => file(id))
    return opened ? ofFile(opened, range) : { status: 404 }
  }
  const stored = await find(() => objects.get(id))
  if (!stored) return { status: 404 }
  if (budget.left < stored.length) throw busy('too many bytes are on their way')
  budget.left -= stored.length
  const { status, start, end, headers } = partOf(stored.length, range)
  const release = () => {
    budget.left += stored.length
  }
  return { status, headers, release, ...(status === 416 ? {} : { body: stored.subarray(start, end) }) }
}
