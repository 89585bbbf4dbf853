// One thread of the pool in workers.ts: hashing, zstd, whole loads and whole puts, nothing else.
import { parentPort } from 'node:worker_threads'
import { codeOf, reasonOf } from '#codec'
import { chunkIdOf, leafHashes } from './chunk.ts'
import { keepAll } from './keep.ts'
import { load } from './load.ts'
import { open, seal } from './stored.ts'
import type { Job, Reply } from './workers.ts'

const buffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function work(job: Job): Reply | undefined {
  switch (job.op) {
    case 'hash': {
      const leaves = leafHashes(job.bytes)
      return { leaves, id: chunkIdOf(leaves) }
    }
    case 'seal':
      return seal(job.kind, buffer(job.bytes))
    case 'keep':
      return keepAll(job.contents, job.place)
    case 'open':
      return open(job.id, buffer(job.bytes))
    case 'load':
      return load(job.id, job.path)
  }
}

parentPort!.on('message', ({ ticket, job }: { ticket: number; job: Job }) => {
  try {
    const reply = work(job)
    const bytes = Buffer.isBuffer(reply) ? reply : reply && 'plain' in reply ? reply.plain : undefined
    // transferred, not copied; a short buffer may lie in Node's shared pool, which cannot be transferred
    const own = bytes && bytes.buffer.byteLength > Buffer.poolSize ? [bytes.buffer as ArrayBuffer] : []
    parentPort!.postMessage({ ticket, reply }, own)
  } catch (error) {
    parentPort!.postMessage({ ticket, error: { message: reasonOf(error), code: codeOf(error) } })
  }
})
