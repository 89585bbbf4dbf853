import { ByteReader, sha256, ZosError } from '#codec'
import type { Content, Entry, Layer, Manifest } from '../types.ts'
import {
  bounded,
  type Owner,
  readDevices,
  readLinks,
  readNames,
  readOwnersOf,
  readParents,
  readReferences,
  readSizes,
  readTargets,
  readText,
  readTimes,
  readTypes,
} from './decode_columns.ts'
import { chunkSizeOf, LIMITS, MAGIC, TYPE_BITS } from './layout.ts'
import { type Packable, packingOf } from './packing.ts'

/** Decoded, but for the fingerprints: `fingerprints` is the SHA-256 (and blob id) of their bytes. */
export type Decoded = { manifest: Manifest; fingerprints: Buffer }

/**
 * Decodes canonical bytes, refusing (`bad-encoding`) every other form of the same tree, so that a tree has one digest.
 * Buffers in the result are views of BYTES.
 */
export function decodeManifest(bytes: Buffer): Decoded {
  const r = new ByteReader(bytes, 'manifest')
  const synthesiser = readHead(r)
  const types = readTypes(r)
  const parents = readParents(r, types)
  const names = readNames(r, parents)
  // a hard link has the inode of the entry it names
  const inodes = types.reduce((sum, t) => sum + (t === 'hardlink' ? 0 : 1), 0)
  const owners = readOwnersOf(r, inodes)
  const times = readTimes(r, inodes)
  const sizes = readSizes(r, types)
  const targets = readTargets(r, types)
  const devices = readDevices(r, types)
  const links = readLinks(r, types)
  const packing = packingOf(shapesOf(types, parents, sizes))
  const { packRefs, fileRefs, treeRefs, idOf } = readReferences(r, packing.packs.length, sizes)
  const contentOf = (entry: number, file: number): Content => {
    const refs = fileRefs[file]
    if (!refs) return packing.places[entry] ?? { kind: 'empty' }
    return { kind: 'chunks', chunkSize: chunkSizeOf(sizes[file]!), chunks: refs.map(idOf) }
  }
  const columns = { types, parents, names, owners, times, sizes, targets, devices, links }
  const entries = entriesOf(columns, contentOf)

  const fingerprints = r.bytes(32)
  const config = r.blob(LIMITS.config)
  const layers = readLayers(r)
  const disk = {
    metadataDigest: r.bytes(32),
    metadataBlocks: r.varint(),
    dataBlocks: r.varint(),
    treeBlocks: r.varint(),
    root: r.bytes(32),
    tree: treeRefs.map((n) => idOf(n)!),
  }
  const startClosure = readStartClosure(r, types.length)
  r.end()
  const packs = packing.packs.map(({ blocks }, n) => ({ id: idOf(packRefs[n]!)!, blocks }))
  return { manifest: { synthesiser, entries, packs, config, layers, disk, startClosure }, fingerprints }
}

/** The magic, and the version of the synthesiser that made the disk. */
function readHead(r: ByteReader): Manifest['synthesiser'] {
  if (r.left < MAGIC.length || !r.bytes(MAGIC.length).equals(MAGIC)) r.fail('it does not start with "zfl/1"')
  const version = r.varint()
  return version === 1 || version === 2
    ? version
    : r.fail(`synthesiser ${version}, which this version does not know; update ZOS`)
}

function shapesOf(types: readonly Entry['type'][], parents: readonly number[], sizes: readonly number[]): Packable[] {
  let file = 0
  return types.map((type, n) => ({
    type,
    parent: parents[n]!,
    ...(type === 'file' ? { size: sizes[file++]! } : {}),
  }))
}

type Columns = {
  types: readonly Entry['type'][]
  parents: readonly number[]
  names: readonly Buffer[]
  owners: readonly Owner[]
  times: readonly Entry['mtime'][]
  sizes: readonly number[]
  targets: readonly Buffer[]
  devices: readonly { major: number; minor: number }[]
  links: readonly number[]
}

/** The rows of C. Columns but the first three have a value only for the entries of their kind, in the order of these. */
function entriesOf(c: Columns, contentOf: (entry: number, file: number) => Content): Entry[] {
  const entries: Entry[] = []
  let inode = 0
  let file = 0
  let target = 0
  let device = 0
  let link = 0
  for (let n = 0; n < c.types.length; n++) {
    const type = c.types[n]!
    const parent = c.parents[n]!
    const name = c.names[n]!
    if (type === 'hardlink') {
      const first = c.links[link++]!
      const { mode, uid, gid, mtime, xattrs } = entries[first]!
      entries.push({ type, parent, name, mode, uid, gid, mtime, xattrs, link: first })
      continue
    }
    const { mode, uid, gid, xattrs } = c.owners[inode]!
    const mtime = c.times[inode++]!
    const base = { parent, name, mode: TYPE_BITS[type] | mode, uid, gid, mtime, xattrs }
    if (type === 'file') {
      const content = contentOf(n, file)
      entries.push({ ...base, type, size: c.sizes[file++]!, fingerprint: undefined, content })
    } else if (type === 'symlink') entries.push({ ...base, type, target: c.targets[target++]! })
    else if (type === 'character' || type === 'block') entries.push({ ...base, type, ...c.devices[device++]! })
    else entries.push({ ...base, type })
  }
  return entries
}

const readLayers = (r: ByteReader): Layer[] =>
  Array.from({ length: bounded(r, 'layers', LIMITS.layers) }, () => ({
    mediaType: readText(r),
    digest: readText(r),
    size: r.varint(),
    diffId: readText(r),
  }))

function readStartClosure(r: ByteReader, count: number): number[] {
  let last = -1
  return Array.from({ length: bounded(r, 'start closure', count) }, () => {
    last += 1 + r.varint()
    if (last >= count) r.fail(`entry ${last} of the start closure`)
    return last
  })
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
