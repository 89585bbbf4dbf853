import type { ByteReader } from '#codec'
import type { ChunkId, Entry, Xattr } from '../types.ts'
import { AGAIN, chunkSizeOf, HOLE, LIMITS, NEXT, TYPES } from './layout.ts'
import { isPacked } from './packing.ts'

// The columns of a manifest, each read in one form only: docs/formats/zfl.md.

type Reader = ByteReader
type Type = (typeof TYPES)[number]
export type Owner = { mode: number; uid: number; gid: number; xattrs: Xattr[] }
type Time = Entry['mtime']

export function readTypes(r: Reader): Type[] {
  const count = bounded(r, 'entries', LIMITS.entries, 1)
  const types = Array.from(r.bytes(count), (t) => TYPES[t] ?? r.fail(`entry type ${t}`))
  if (types[0] !== 'directory') r.fail('the root is not a directory')
  return types
}

/** The owner of each of COUNT entries: a number into a list in which each stands once, in the order of first use. */
export function readOwnersOf(r: Reader, count: number): Owner[] {
  const owners = readOwners(r)
  let seen = 0
  const ownerOf = Array.from({ length: count }, () => {
    const n = bounded(r, 'owner', owners.length - 1)
    if (n > seen) r.fail(`owner ${n} before owner ${seen}`)
    if (n === seen) seen++
    return owners[n]!
  })
  if (seen !== owners.length) r.fail('an owner nobody has')
  return ownerOf
}

/** Seconds as differences (zigzag), all of them; then all nanoseconds. */
export function readTimes(r: Reader, count: number): Time[] {
  let before = 0n
  const times = Array.from({ length: count }, () => {
    const z = BigInt(r.varint())
    before += z & 1n ? -((z + 1n) >> 1n) : z >> 1n
    if (before > LIMITS.seconds || before < -LIMITS.seconds) r.fail(`time ${before}`)
    return { seconds: before, nanoseconds: 0 }
  })
  for (const time of times) time.nanoseconds = bounded(r, 'nanoseconds', 999_999_999)
  return times
}

export function readSizes(r: Reader, types: readonly Type[]): number[] {
  const sizes: number[] = []
  for (const t of types) if (t === 'file') sizes.push(bounded(r, 'size', LIMITS.size))
  return sizes
}

export function readTargets(r: Reader, types: readonly Type[]): Buffer[] {
  const targets: Buffer[] = []
  for (const t of types) if (t === 'symlink') targets.push(readTarget(r))
  return targets
}

export function readDevices(r: Reader, types: readonly Type[]): { major: number; minor: number }[] {
  const devices: { major: number; minor: number }[] = []
  for (const t of types) {
    if (t !== 'character' && t !== 'block') continue
    devices.push({ major: bounded(r, 'major', LIMITS.major), minor: bounded(r, 'minor', LIMITS.minor) })
  }
  return devices
}

/** For each hard link the entry it is another name of. */
export function readLinks(r: Reader, types: readonly Type[]): number[] {
  const links: number[] = []
  types.forEach((t, n) => {
    if (t !== 'hardlink') return
    const link = n - bounded(r, 'link', n, 1)
    if (types[link] === 'directory' || types[link] === 'hardlink') r.fail(`entry ${n} links to a ${types[link]}`)
    links.push(link)
  })
  return links
}

export function bounded(r: Reader, what: string, most: number, least = 0): number {
  const n = r.varint()
  if (n < least || n > most) r.fail(`${what} ${n} is not between ${least} and ${most}`)
  return n
}

export function readText(r: Reader): string {
  const bytes = r.blob(LIMITS.text)
  const text = bytes.toString()
  if (!Buffer.from(text).equals(bytes)) r.fail('text that is not UTF-8')
  return text
}

/** The parent of each entry; the decoder's stack of open directories leaves no other than depth-first order. */
export function readParents(r: Reader, types: readonly string[]): number[] {
  const open: number[] = [0]
  const parents = [0]
  for (let n = 1; n < types.length; n++) {
    const up = bounded(r, 'levels up', open.length - 1)
    open.length -= up
    parents.push(open.at(-1)!)
    if (types[n] !== 'directory') continue
    if (open.push(n) > LIMITS.depth) r.fail(`directories deeper than ${LIMITS.depth}`)
  }
  return parents
}

export function readNames(r: Reader, parents: readonly number[]): Buffer[] {
  const names: Buffer[] = [Buffer.alloc(0)]
  const lastOf = new Map<number, Buffer>()
  for (let n = 1; n < parents.length; n++) {
    const name = r.blob(LIMITS.name)
    const dots = name.length <= 2 && name.every((byte) => byte === 0x2e)
    if (dots || name.includes(0) || name.includes(0x2f)) r.fail(`entry ${n} has no name a file can have`)
    const last = lastOf.get(parents[n]!)
    if (last && last.compare(name) >= 0) r.fail(`entry ${n} is not in the order of names`)
    lastOf.set(parents[n]!, name)
    names.push(name)
  }
  return names
}

/** The distinct owners, each with its mode and extended attributes. */
function readOwners(r: Reader): Owner[] {
  const distinct = new Set<string>()
  const once = (what: string, key: string) => {
    if (distinct.size === distinct.add(what + key).size) r.fail(`${what} twice`)
  }
  const sets: Xattr[][] = [[]]
  const setCount = r.varint()
  for (let n = 0; n < setCount; n++) {
    const set: Xattr[] = []
    const size = bounded(r, 'extended attributes', LIMITS.xattrs, 1)
    for (let k = 0; k < size; k++) {
      const name = r.blob(LIMITS.xattrName)
      if (name.length === 0 || name.includes(0)) r.fail('an extended attribute without a name')
      if (k > 0 && set[k - 1]!.name.compare(name) >= 0) r.fail('extended attributes out of order')
      set.push({ name, value: r.blob(LIMITS.xattrValue) })
    }
    const key = set.map(({ name, value }) => `${name.toString('latin1')}\0${value.length} ${value.toString('latin1')}`)
    once('set of extended attributes', key.join(''))
    sets.push(set)
  }
  let setsSeen = 0
  const ownerCount = bounded(r, 'owners', LIMITS.entries, 1)
  const owners: Owner[] = []
  for (let n = 0; n < ownerCount; n++) {
    const mode = bounded(r, 'mode', 0o7777)
    const uid = bounded(r, 'uid', LIMITS.id)
    const gid = bounded(r, 'gid', LIMITS.id)
    const set = bounded(r, 'set', sets.length - 1)
    if (set > setsSeen + 1) r.fail(`set ${set} before set ${setsSeen + 1}`)
    if (set === setsSeen + 1) setsSeen++
    once('owner', `${mode} ${uid} ${gid} ${set}`)
    owners.push({ mode, uid, gid, xattrs: sets[set]! })
  }
  if (setsSeen !== setCount) r.fail('a set of extended attributes nobody has')
  return owners
}

function readTarget(r: Reader): Buffer {
  const target = r.blob(LIMITS.target)
  if (target.length === 0 || target.includes(0)) r.fail('a symbolic link to nothing')
  return target
}

/** The references of packs, files and the verity tree, then the ids they name. */
export function readReferences(r: Reader, packs: number, sizes: readonly number[]) {
  let named = 0
  let total = 0
  const reference = (holes: boolean): number => {
    const n = r.varint()
    if (++total > LIMITS.chunks) r.fail(`more than ${LIMITS.chunks} chunks`)
    if (n === HOLE && !holes) r.fail('a hole where none can be')
    if (n === NEXT) return AGAIN + named++
    if (n >= AGAIN + named) r.fail(`chunk ${n - AGAIN} before it was named`)
    return n
  }
  const packRefs = Array.from({ length: packs }, () => reference(false))
  const fileRefs = sizes.map((size) => {
    if (size === 0 || isPacked(size)) return undefined
    const chunks = Math.ceil(size / chunkSizeOf(size))
    if (chunks > r.left) r.fail(`${chunks} chunks in ${r.left} bytes`)
    return Array.from({ length: chunks }, () => reference(true))
  })
  const treeRefs = Array.from({ length: bounded(r, 'tree', r.left) }, () => reference(false))
  const ids: ChunkId[] = []
  const distinct = new Set<string>()
  for (let n = 0; n < named; n++) {
    const id = r.bytes(32)
    if (distinct.size === distinct.add(id.toString('latin1')).size) r.fail('one chunk under two numbers')
    ids.push(id)
  }
  return { packRefs, fileRefs, treeRefs, idOf: (n: number) => (n === HOLE ? undefined : ids[n - AGAIN]!) }
}
