// The file operations of a put, synchronous: in a worker thread they cost a fifth of the same through promises.

import { randomBytes } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { codeOf } from '#codec'

/** A folder of objects, and where half-written ones go. */
export type Place = { dir: string; temporary: string }

/** Older files are on the disk by themselves (Linux writes back after 30 s): claiming one needs no flush. Milliseconds. */
const WRITTEN_BACK = 300_000

export const objectPath = (dir: string, id: string): string => `${dir}/${id.slice(0, 2)}/${id.slice(2)}`
const mine = randomBytes(8).toString('hex')
let made = 0
/** A name nobody else has: 24 hex digits, by which what a killed process left is known. */
export const temporaryPath = (temporary: string): string =>
  `${temporary}/${mine}${(made++ >>> 0).toString(16).padStart(8, '0')}`

/** Marks an object as in use now. RECENT: it may not have reached the disk yet. */
export function claimSync(place: Place, id: string): 'absent' | 'recent' | 'old' {
  const path = objectPath(place.dir, id)
  try {
    const facts = statSync(path, { throwIfNoEntry: false })
    if (!facts || facts.size === 0) return 'absent' // no object is empty: one is when a power failure cut it off
    utimesSync(path, new Date(), new Date())
    return Date.now() - facts.mtimeMs < WRITTEN_BACK ? 'recent' : 'old'
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'absent' // collected between the two calls
    throw error
  }
}

/** Makes the folder above only where it is missing, which is once per shard. */
function withFolder(folder: string, act: () => void): void {
  try {
    act()
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    mkdirSync(folder, { recursive: true })
    act()
  }
}

/** Writes an object whole or not at all. */
export function writeSync(place: Place, id: string, stored: Uint8Array): void {
  const path = objectPath(place.dir, id)
  const half = temporaryPath(place.temporary)
  try {
    withFolder(place.temporary, () => writeFileSync(half, stored, { flag: 'wx' }))
    withFolder(dirname(path), () => renameSync(half, path))
  } catch (error) {
    rmSync(half, { force: true })
    throw error
  }
}
