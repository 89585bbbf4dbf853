import { constants } from 'node:fs'
import { chmod, type FileHandle, lchown, link, mkdir, open, readdir, rm, symlink } from 'node:fs/promises'
import type { Store } from '#cas'
import { codeOf, reasonOf, ZosError } from '#codec'
import { makeNode, setTime, writeXattr } from '#sys'
import type { Entry, Manifest } from '../types.ts'
import { type GetChunk, pieces, rememberingPacks } from './content.ts'

export type ExtractOptions = {
  /** Leaves out owners, devices and attributes other than user.*: for those who are not root. Default: not root. */
  unprivileged?: boolean
  signal?: AbortSignal
  onProgress?: (done: { files: number; bytes: number }) => void
}

const SLASH = Buffer.from('/')

/**
 * Writes the tree below DIR, which must be absent or empty, with all metadata; every byte is verified. Every file is
 * made new by its own name in a directory made before, so that no symbolic link in the tree is ever followed.
 * After a failure what was written is removed again.
 */
export async function extract(
  store: Store,
  manifest: Manifest,
  dir: string,
  options: ExtractOptions = {},
): Promise<{ files: number; bytes: number }> {
  const unprivileged = options.unprivileged ?? process.getuid?.() !== 0
  const made = await mkdir(dir, { recursive: true, mode: 0o700 })
  if ((await readdir(dir)).length > 0) {
    throw new ZosError(`Extract to "${dir}": it is not empty; name a folder that is`, { code: 'not-empty' })
  }
  const { entries } = manifest
  const get = rememberingPacks(store)
  const paths: Buffer[] = [Buffer.from(dir)]
  const done = { files: 0, bytes: 0 }
  try {
    for (const [n, entry] of entries.entries()) {
      options.signal?.throwIfAborted()
      if (n > 0) {
        paths[n] = Buffer.concat([paths[entry.parent]!, SLASH, entry.name])
        done.bytes += await make(get, manifest, n, paths, unprivileged)
      }
      if (entry.type !== 'hardlink' && entry.type !== 'directory' && !(unprivileged && isDevice(entry))) {
        await dress(paths[n]!, entry, unprivileged)
      }
      done.files++
      options.onProgress?.(done)
    }
    // last, and children first: making a file in a directory changes its time, and its mode may forbid it
    for (let n = entries.length - 1; n >= 0; n--) {
      if (entries[n]!.type === 'directory') await dress(paths[n]!, entries[n]!, unprivileged)
    }
  } catch (error) {
    if (made) await rm(made, { recursive: true, force: true })
    else for (const name of await readdir(dir)) await rm(`${dir}/${name}`, { recursive: true, force: true })
    if (codeOf(error) === 'ENOSPC') {
      throw new ZosError(`Extract to "${dir}": the disk is full`, { code: 'disk-full', kind: 'node', cause: error })
    }
    if (error instanceof ZosError || (error as Error).name === 'AbortError') throw error
    throw new ZosError(`Extract to "${dir}": ${reasonOf(error)}`, {
      code: 'extract-failed',
      kind: 'node',
      cause: error,
    })
  }
  return done
}

const isDevice = (entry: Entry) => entry.type === 'character' || entry.type === 'block'

/** Makes entry N without its metadata; returns the bytes written. */
async function make(
  get: GetChunk,
  manifest: Manifest,
  n: number,
  paths: Buffer[],
  unprivileged: boolean,
): Promise<number> {
  const entry = manifest.entries[n]!
  const path = paths[n]!
  switch (entry.type) {
    case 'directory':
      await mkdir(path, { mode: 0o700 })
      return 0
    case 'symlink':
      await symlink(entry.target, path)
      return 0
    case 'hardlink': {
      const target = manifest.entries[entry.link]!
      if (!(unprivileged && isDevice(target))) await link(paths[entry.link]!, path)
      return 0
    }
    case 'character':
    case 'block':
      if (!unprivileged) makeNode(path, entry.mode, entry.major, entry.minor)
      return 0
    case 'fifo':
    case 'socket':
      makeNode(path, entry.mode, 0, 0)
      return 0
    case 'file': {
      const file = await open(
        path,
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
        0o600,
      )
      try {
        await fill(get, manifest, n, file)
        if (entry.size > 0) await file.truncate(entry.size) // a hole at the end
      } finally {
        await file.close()
      }
      return entry.size
    }
  }
}

async function fill(get: GetChunk, manifest: Manifest, n: number, file: FileHandle): Promise<void> {
  let at = 0
  for await (const piece of pieces(get, manifest, n)) {
    if ('hole' in piece) at += piece.hole
    else {
      for (let from = 0; from < piece.bytes.length; ) {
        const { bytesWritten } = await file.write(piece.bytes, from, piece.bytes.length - from, at + from)
        from += bytesWritten
      }
      at += piece.bytes.length
    }
  }
}

/** Owner, then attributes (a change of owner clears capabilities), mode, and time last. */
async function dress(path: Buffer, entry: Entry, unprivileged: boolean): Promise<void> {
  if (!unprivileged) await lchown(path, entry.uid, entry.gid)
  for (const { name, value } of entry.xattrs) {
    if (!unprivileged || name.toString('latin1').startsWith('user.')) writeXattr(path, name, value)
  }
  if (entry.type !== 'symlink') await chmod(path, entry.mode & 0o7777)
  setTime(path, entry.mtime)
}
