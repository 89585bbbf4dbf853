import { ByteReader, sha256, ZosError } from '#codec'
import type { ChunkId, Content, Entry, Layer, Manifest, Xattr } from '../types.ts'
import { AGAIN, chunkSizeOf, HOLE, LIMITS, MAGIC, NEXT, TYPE_BITS, TYPES } from './layout.ts'
import { isPacked, type Packable, packingOf } from './packing.ts'

type Owner = { mode: number; uid: number; gid: number; xattrs: Xattr[] }
type Reader = ByteReader

/** Decoded, but for the fingerprints: `fingerprints` is the SHA-256 (and blob id) of their bytes. */
export type Decoded = { manifest: Manifest; fingerprints: Buffer }

/**
 * Decodes canonical bytes, refusing (`bad-encoding`) every other form of the same tree, so that a tree has one digest.
 * Buffers in the result are views of BYTES.
 */
export function decodeManifest(bytes: Buffer): Decoded {
  const r = new ByteReader(bytes, 'manifest')
  if (r.left < MAGIC.length || !r.bytes(MAGIC.length).equals(MAGIC)) r.fail('it does not start with "zfl/1"')
  const version = r.varint()
  const synthesiser =
    version === 1 || version === 2
      ? version
      : r.fail(`synthesiser ${version}, which this version does not know; update ZOS`)
  const count = bounded(r, 'entries', LIMITS.entries, 1)

  const types = Array.from(r.bytes(count), (t) => TYPES[t] ?? r.fail(`entry type ${t}`))
  if (types[0] !== 'directory') r.fail('the root is not a directory')
  const parents = readParents(r, types)
  const names = readNames(r, parents)
  const owners = readOwners(r)
  const ownCount = types.reduce((sum, t) => sum + (t === 'hardlink' ? 0 : 1), 0)
  let seen = 0
  const ownerOf = Array.from({ length: ownCount }, () => {
    const n = bounded(r, 'owner', owners.length - 1)
    if (n > seen) r.fail(`owner ${n} before owner ${seen}`)
    if (n === seen) seen++
    return owners[n]!
  })
  if (seen !== owners.length) r.fail('an owner nobody has')
  let before = 0n
  const seconds = Array.from({ length: ownCount }, () => {
    const z = BigInt(r.varint())
    before += z & 1n ? -((z + 1n) >> 1n) : z >> 1n
    if (before > LIMITS.seconds || before < -LIMITS.seconds) r.fail(`time ${before}`)
    return before
  })
  const nanoseconds = Array.from({ length: ownCount }, () => bounded(r, 'nanoseconds', 999_999_999))

  const sizes: number[] = []
  for (const t of types) if (t === 'file') sizes.push(bounded(r, 'size', LIMITS.size))
  const targets: Buffer[] = []
  for (const t of types) if (t === 'symlink') targets.push(readTarget(r))
  const devices: { major: number; minor: number }[] = []
  for (const t of types) {
    if (t !== 'character' && t !== 'block') continue
    devices.push({ major: bounded(r, 'major', LIMITS.major), minor: bounded(r, 'minor', LIMITS.minor) })
  }
  const links: number[] = []
  types.forEach((t, n) => {
    if (t !== 'hardlink') return
    const link = n - bounded(r, 'link', n, 1)
    if (types[link] === 'directory' || types[link] === 'hardlink') r.fail(`entry ${n} links to a ${types[link]}`)
    links.push(link)
  })

  let sizeAt = 0
  const shapes: Packable[] = types.map((type, n) => ({
    type,
    parent: parents[n]!,
    ...(type === 'file' ? { size: sizes[sizeAt++]! } : {}),
  }))
  const packing = packingOf(shapes)
  const { packRefs, fileRefs, treeRefs, idOf } = readReferences(r, packing.packs.length, sizes)

  const entries: Entry[] = []
  let own = 0
  let file = 0
  let target = 0
  let device = 0
  let link = 0
  for (let n = 0; n < count; n++) {
    const type = types[n]!
    const parent = parents[n]!
    const name = names[n]!
    if (type === 'hardlink') {
      const first = links[link++]!
      const { mode, uid, gid, mtime, xattrs } = entries[first]!
      entries.push({ type, parent, name, mode, uid, gid, mtime, xattrs, link: first })
      continue
    }
    const { mode, uid, gid, xattrs } = ownerOf[own]!
    const mtime = { seconds: seconds[own]!, nanoseconds: nanoseconds[own]! }
    own++
    const base = { parent, name, mode: TYPE_BITS[type] | mode, uid, gid, mtime, xattrs }
    if (type === 'file') {
      const size = sizes[file]!
      const refs = fileRefs[file++]
      const content: Content = refs
        ? { kind: 'chunks', chunkSize: chunkSizeOf(size), chunks: refs.map(idOf) }
        : (packing.places[n] ?? { kind: 'empty' })
      entries.push({ ...base, type, size, fingerprint: undefined, content })
    } else if (type === 'symlink') entries.push({ ...base, type, target: targets[target++]! })
    else if (type === 'character' || type === 'block') entries.push({ ...base, type, ...devices[device++]! })
    else entries.push({ ...base, type })
  }

  const fingerprints = r.bytes(32)
  const config = r.blob(LIMITS.config)
  const layers: Layer[] = Array.from({ length: bounded(r, 'layers', LIMITS.layers) }, () => ({
    mediaType: readText(r),
    digest: readText(r),
    size: r.varint(),
    diffId: readText(r),
  }))
  const disk = {
    metadataDigest: r.bytes(32),
    metadataBlocks: r.varint(),
    dataBlocks: r.varint(),
    treeBlocks: r.varint(),
    root: r.bytes(32),
    tree: treeRefs.map((n) => idOf(n)!),
  }
  let last = -1
  const startClosure = Array.from({ length: bounded(r, 'start closure', count) }, () => {
    last += 1 + r.varint()
    if (last >= count) r.fail(`entry ${last} of the start closure`)
    return last
  })
  r.end()
  const packs = packing.packs.map(({ blocks }, n) => ({ id: idOf(packRefs[n]!)!, blocks }))
  return { manifest: { synthesiser, entries, packs, config, layers, disk, startClosure }, fingerprints }
}

/** Gives each file of MANIFEST its fingerprint; BYTES must have the SHA-256 that decodeManifest gave. */
export function attachFingerprints(manifest: Manifest, bytes: Buffer, digest: Buffer): void {
  const files = manifest.entries.filter((e) => e.type === 'file')
  if (bytes.length !== files.length * 32 || !sha256(bytes).equals(digest)) {
    throw new ZosError('Decode fingerprints: they are not those of this manifest', { code: 'bad-encoding' })
  }
  files.forEach((entry, n) => {
    entry.fingerprint = bytes.subarray(n * 32, n * 32 + 32)
  })
}

function bounded(r: Reader, what: string, most: number, least = 0): number {
  const n = r.varint()
  if (n < least || n > most) r.fail(`${what} ${n} is not between ${least} and ${most}`)
  return n
}

function readText(r: Reader): string {
  const bytes = r.blob(LIMITS.text)
  const text = bytes.toString()
  if (!Buffer.from(text).equals(bytes)) r.fail('text that is not UTF-8')
  return text
}

/** The parent of each entry; the decoder's stack of open directories leaves no other than depth-first order. */
function readParents(r: Reader, types: readonly string[]): number[] {
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

function readNames(r: Reader, parents: readonly number[]): Buffer[] {
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
function readReferences(r: Reader, packs: number, sizes: readonly number[]) {
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
