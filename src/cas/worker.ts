// One thread of the pool in workers.ts: hashing and zstd, nothing else.
import { parentPort } from 'node:worker_threads'
import { codeOf, reasonOf } from '#codec'
import { chunkIdOf, leafHashes } from './chunk.ts'
import { claimSync, writeSync } from './dir_sync.ts'
import { open, seal } from './stored.ts'
import type { Job, Kept, Reply } from './workers.ts'

const buffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A whole put: hash, claim or compress, write to every place, the first of which decides whether it is new. */
function keep({ bytes, known, places }: Extract<Job, { op: 'keep' }>): Kept {
  const leaves = known ? buffer(known) : leafHashes(bytes)
  const id = chunkIdOf(leaves)
  const hex = id.toString('hex')
  const claimed = claimSync(places[0]!, hex)
  if (claimed !== 'absent') return { id, leaves, isNew: false, storedBytes: 0, recent: claimed === 'recent' }
  const stored = seal('chunk', buffer(bytes))
  for (const place of places) writeSync(place, hex, stored)
  return { id, leaves, isNew: true, storedBytes: stored.length, recent: true }
}

function work(job: Job): Reply {
  switch (job.op) {
    case 'hash': {
      const leaves = leafHashes(job.bytes)
      return { leaves, id: chunkIdOf(leaves) }
    }
    case 'seal':
      return seal(job.kind, buffer(job.bytes))
    case 'keep':
      return keep(job)
    case 'open':
      return open(job.id, buffer(job.bytes))
  }
}

parentPort!.on('message', ({ ticket, job }: { ticket: number; job: Job }) => {
  try {
    const reply = work(job)
    const bytes = Buffer.isBuffer(reply) ? reply : 'plain' in reply ? reply.plain : undefined
    // handed over, not copied; a short one may share Node's buffer pool, which cannot be
    const own = bytes && bytes.buffer.byteLength > Buffer.poolSize ? [bytes.buffer as ArrayBuffer] : []
    parentPort!.postMessage({ ticket, reply }, own)
  } catch (error) {
    parentPort!.postMessage({ ticket, error: { message: reasonOf(error), code: codeOf(error) } })
  }
})
