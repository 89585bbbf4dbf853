import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'
import { syncDirectory, writeAtomic } from '#sys'
import { leavesRoom } from '../share.ts'

/** What lies here at most: messages nobody fetches must not fill the disk. */
const MAX_MESSAGES = 1024
const MAX_BYTES = 64 << 20
const HEADER_LIMIT = 4096
const NAME = /^(\d{12})-([0-9a-f]{16})\.message$/

/** A message as it is kept, without its payload. Addresses as text, keys in hex. */
export type Kept = {
  id: string
  reply: boolean
  srcIp: string
  srcPk: string
  dstIp: string
  dstPk: string
  /** In hex: any bytes may be one. */
  topic: string
  size: number
}

type Entry = Kept & { file: string }

export type Spool = Awaited<ReturnType<typeof openSpool>>

/** Reads the first line of a file: a message's header; the payload is what follows it. */
async function readHeader(file: string): Promise<Kept> {
  await using handle = await open(file)
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEADER_LIMIT), 0, HEADER_LIMIT, 0)
  const end = buffer.subarray(0, bytesRead).indexOf('\n')
  return JSON.parse(buffer.toString('utf8', 0, end)) as Kept
}

/**
 * Messages received and not fetched, a file each in DIR, in the order they came. What `put` has returned for outlives
 * kill -9 and a power cut.
 */
export async function openSpool(dir: string) {
  const entries: Entry[] = []
  let next = 1
  let bytes = 0

  async function read(): Promise<void> {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    for (const name of (await readdir(dir)).sort()) {
      const parts = NAME.exec(name)
      const file = join(dir, name)
      // a write that was cut short was not acknowledged
      if (name.endsWith('.tmp')) await rm(file, { force: true })
      if (!parts) continue
      const kept = await readHeader(file)
      next = Number(parts[1]) + 1
      bytes += kept.size
      entries.push({ ...kept, file })
    }
  }

  try {
    await read()
  } catch (cause) {
    throw new ZosError(`Read the messages kept in "${dir}": ${reasonOf(cause)}; move the folder away to begin anew`, {
      code: 'spool-unreadable',
      kind: 'node',
      cause,
    })
  }

  return {
    entries: entries as readonly Kept[],

    /** For one more of SIZE bytes, of who has PUBLICKEY. */
    hasRoom(size: number, publicKey: string): boolean {
      const own = entries.filter(({ srcPk }) => srcPk === publicKey)
      const ownBytes = own.reduce((sum, one) => sum + one.size, 0)
      return leavesRoom(own.length, entries.length, 1, MAX_MESSAGES) && leavesRoom(ownBytes, bytes, size, MAX_BYTES)
    },

    async put(kept: Kept, payload: Buffer): Promise<Kept> {
      const file = join(dir, `${String(next++).padStart(12, '0')}-${kept.id}.message`)
      bytes += kept.size
      try {
        await writeAtomic(file, Buffer.concat([Buffer.from(`${JSON.stringify(kept)}\n`), payload]), { mode: 0o600 })
      } catch (error) {
        bytes -= kept.size
        throw error
      }
      const entry = { ...kept, file }
      entries.push(entry)
      return entry
    },

    /** Undefined when it was fetched meanwhile. */
    async payload(kept: Kept): Promise<Buffer | undefined> {
      const { file } = kept as Entry
      try {
        const whole = await readFile(file)
        return whole.subarray(whole.length - kept.size)
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return undefined
        throw error
      }
    },

    /** False when it was removed already. */
    async remove(kept: Kept): Promise<boolean> {
      const at = entries.indexOf(kept as Entry)
      if (at < 0) return false
      entries.splice(at, 1)
      bytes -= kept.size
      await rm((kept as Entry).file, { force: true })
      await syncDirectory(dir)
      return true
    },
  }
}
