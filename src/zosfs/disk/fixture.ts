// Trees made in memory, for the tests of the disk, the NBD server and the storage process.
import { chunkIdOf, isZero, leafHashes, wholeBlocks } from '#cas'
import { sha256 } from '#codec'
import {
  BLOCK,
  CHUNK,
  type ChunkId,
  type Content,
  type Entry,
  LARGE_CHUNK,
  LARGE_FILE,
  type Manifest,
  PACK,
  PACKED,
  type Xattr,
} from '../types.ts'
import { type Synthesised, synthesise } from './erofs.ts'
import { treeChunks } from './hash-tree.ts'
import { fsVerityDigest, verityTree } from './verity.ts'

/** What one path is. Paths are latin1: each character a byte. */
export type Spec = {
  path: string
  mode?: number
  uid?: number
  gid?: number
  mtime?: [seconds: bigint, nanoseconds: number]
  xattrs?: Record<string, Buffer>
} & (
  | { directory: true }
  | { data: Buffer }
  | { symlink: string }
  | { device: 'character' | 'block'; major: number; minor: number }
  | { special: 'fifo' | 'socket' }
  | { link: string }
)

export type Fixture = {
  manifest: Manifest
  chunks: Map<string, Buffer>
  /** The whole disk: metadata, data, tree. */
  image: () => Buffer
  synthesised: Synthesised
}

type Built = { spec: Spec; name: Buffer; children: Built[] }

/** A whole fixture from SPECS; missing parents are made. */
export function fixture(specs: Spec[]): Fixture {
  const chunks = new Map<string, Buffer>()
  const keep = (bytes: Buffer): ChunkId => {
    const plain = wholeBlocks(bytes)
    const id = chunkIdOf(leafHashes(plain))
    chunks.set(id.toString('hex'), plain)
    return id
  }
  const entries: Entry[] = []
  const packs: Manifest['packs'] = []
  const numbers = new Map<string, number>()

  const root: Built = { spec: { path: '', directory: true }, name: Buffer.alloc(0), children: [] }
  const built = new Map<string, Built>([['', root]])
  const nodeOf = (path: string): Built => {
    const known = built.get(path)
    if (known) return known
    const cut = path.lastIndexOf('/')
    const node: Built = {
      spec: { path, directory: true },
      name: Buffer.from(path.slice(cut + 1), 'latin1'),
      children: [],
    }
    nodeOf(cut < 0 ? '' : path.slice(0, cut)).children.push(node)
    built.set(path, node)
    return node
  }
  for (const spec of specs) nodeOf(spec.path).spec = spec

  const contentOf = (data: Buffer): Content => {
    if (data.length === 0) return { kind: 'empty' }
    const chunkSize = data.length > LARGE_FILE ? LARGE_CHUNK : CHUNK
    const list: (ChunkId | undefined)[] = []
    for (let at = 0; at < data.length; at += chunkSize) {
      const bytes = data.subarray(at, at + chunkSize)
      list.push(isZero(bytes) ? undefined : keep(bytes))
    }
    return { kind: 'chunks', chunkSize, chunks: list }
  }

  const visit = (node: Built, parent: number) => {
    const { spec } = node
    const index = entries.length
    numbers.set(spec.path, index)
    const xattrs: Xattr[] = Object.entries(spec.xattrs ?? {})
      .map(([name, value]) => ({ name: Buffer.from(name, 'latin1'), value }))
      .sort((a, b) => a.name.compare(b.name))
    const base = {
      parent,
      name: node.name,
      uid: spec.uid ?? 0,
      gid: spec.gid ?? 0,
      mtime: { seconds: spec.mtime?.[0] ?? 1700000000n, nanoseconds: spec.mtime?.[1] ?? 0 },
      xattrs,
    }
    if ('directory' in spec) {
      entries.push({ ...base, type: 'directory', mode: 0o040000 | (spec.mode ?? 0o755) })
      node.children.sort((a, b) => a.name.compare(b.name))
      const inPack = new Map<Built, Content>()
      let pack: Buffer[] = []
      let used = 0
      const flush = () => {
        if (used > 0) packs.push({ id: keep(Buffer.concat(pack)), blocks: used })
        pack = []
        used = 0
      }
      for (const child of node.children) {
        if (!('data' in child.spec) || child.spec.data.length === 0 || child.spec.data.length > PACKED) continue
        const bytes = wholeBlocks(child.spec.data)
        if (used + bytes.length / BLOCK > PACK / BLOCK) flush()
        inPack.set(child, { kind: 'packed', pack: packs.length, block: used })
        pack.push(bytes)
        used += bytes.length / BLOCK
      }
      flush()
      for (const child of node.children) {
        const at = entries.length
        visit(child, index)
        const content = inPack.get(child)
        if (content) (entries[at] as { content: Content }).content = content
      }
    } else if ('data' in spec) {
      const packed = spec.data.length > 0 && spec.data.length <= PACKED
      entries.push({
        ...base,
        type: 'file',
        mode: 0o100000 | (spec.mode ?? 0o644),
        size: spec.data.length,
        fingerprint: fsVerityDigest(leafHashes(spec.data), spec.data.length),
        content: packed ? { kind: 'empty' } : contentOf(spec.data),
      })
    } else if ('symlink' in spec)
      entries.push({ ...base, type: 'symlink', mode: 0o120777, target: Buffer.from(spec.symlink, 'latin1') })
    else if ('device' in spec)
      entries.push({
        ...base,
        type: spec.device,
        mode: (spec.device === 'block' ? 0o060000 : 0o020000) | (spec.mode ?? 0o600),
        major: spec.major,
        minor: spec.minor,
      })
    else if ('special' in spec)
      entries.push({
        ...base,
        type: spec.special,
        mode: (spec.special === 'fifo' ? 0o010000 : 0o140000) | (spec.mode ?? 0o644),
      })
    else {
      const link = numbers.get(spec.link)!
      entries.push({ ...entries[link]!, parent, name: node.name, type: 'hardlink', link } as Entry)
    }
  }
  visit(root, 0)

  const synthesised = synthesise({ entries, packs })
  const { metadata, metadataBlocks, dataBlocks, extents } = synthesised
  const data = (): Buffer => {
    const out = Buffer.alloc(dataBlocks * BLOCK)
    metadata.copy(out)
    for (const { block, id } of extents) chunks.get(id.toString('hex'))!.copy(out, block * BLOCK)
    return out
  }
  const { tree, root: hash } = verityTree(leafHashes(data()))
  const treeIds = treeChunks(synthesised).map(({ block, blocks }) =>
    keep(tree.subarray(block * BLOCK, (block + blocks) * BLOCK)),
  )
  const manifest: Manifest = {
    synthesiser: 2,
    entries,
    packs,
    config: Buffer.from('{}'),
    layers: [],
    disk: {
      metadataDigest: sha256(metadata),
      metadataBlocks,
      dataBlocks,
      treeBlocks: tree.length / BLOCK,
      root: hash,
      tree: treeIds,
    },
    startClosure: [],
  }
  return { manifest, chunks, synthesised, image: () => Buffer.concat([data(), tree]) }
}

/** LENGTH bytes that look random and are the same for the same SEED. */
export function noise(length: number, seed: number): Buffer {
  const out = Buffer.alloc(length)
  let x = (seed * 2654435761 + 1) >>> 0
  for (let n = 0; n + 4 <= length; n += 4) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    out.writeUInt32LE(x >>> 0, n)
  }
  return out
}
