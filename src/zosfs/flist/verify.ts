import { type Store, zeroLeaf } from '#cas'
import { codeOf, reasonOf, sha256, ZosError } from '#codec'
import { resynthesise } from '../disk/erofs.ts'
import { hashTree, treeChunks } from '../disk/hash-tree.ts'
import { pathOf } from '../disk/path.ts'
import { fsVerityDigest } from '../disk/verity.ts'
import { BLOCK, type ChunkId, type Manifest } from '../types.ts'
import { fileAt, type GetChunk, namingFile, pieces, rememberingPacks } from './content.ts'
import { loadManifest } from './load.ts'

export type Fault = { path: string; code: string; reason: string; details?: Record<string, unknown> }
export type Verified = { files: number; bytes: number; faults: Fault[] }

type Options = { signal?: AbortSignal; onProgress?: (done: { files: number; bytes: number }) => void }

/** Leaf hashes of one file's blocks, its bytes verified on the way. */
async function leavesOfFile(store: Store, get: GetChunk, manifest: Manifest, index: number): Promise<Buffer> {
  const leaves: Buffer[] = []
  for await (const piece of pieces(get, manifest, index)) {
    if ('hole' in piece) leaves.push(Buffer.alloc(Math.ceil(piece.hole / BLOCK) * 32, zeroLeaf))
    else leaves.push((await store.workers.hash(piece.bytes)).leaves)
  }
  return Buffer.concat(leaves)
}

/**
 * Reads everything the manifest DIGEST names: every chunk against its id, every file against its fingerprint, the
 * synthesised metadata, and the disk's root computed anew. Faults are listed, not thrown; a damaged manifest throws.
 */
export async function verify(store: Store, digest: string, options: Options = {}): Promise<Verified> {
  const manifest = await loadManifest(store, digest, { fingerprints: true })
  const get = rememberingPacks(store)
  const result: Verified = { files: 0, bytes: 0, faults: [] }
  const fault = (path: string, error: unknown) => {
    const details = error instanceof ZosError ? { details: error.details } : {}
    result.faults.push({ path, code: codeOf(error) || 'fault', reason: reasonOf(error), ...details })
  }
  const wrong = (path: string, what: string, expected: Buffer, found: Buffer) => {
    const details = { expected: expected.toString('hex'), found: found.toString('hex') }
    const reason = `${what} is "${details.found}" instead of "${details.expected}"`
    result.faults.push({ path, code: 'wrong-digest', reason, details })
  }

  for (const [n, entry] of manifest.entries.entries()) {
    if (entry.type !== 'file') continue
    options.signal?.throwIfAborted()
    try {
      const found = fsVerityDigest(await leavesOfFile(store, get, manifest, n), entry.size)
      if (!found.equals(entry.fingerprint!))
        wrong(pathOf(manifest.entries, n), 'its fingerprint', entry.fingerprint!, found)
    } catch (error) {
      fault(pathOf(manifest.entries, n), error)
    }
    result.files++
    result.bytes += entry.size
    options.onProgress?.(result)
  }
  await verifyDisk(store, manifest, fault, wrong)
  return result
}

/** The disk as it would be served: metadata, data in disk order, verity tree. */
async function verifyDisk(
  store: Store,
  manifest: Manifest,
  fault: (path: string, error: unknown) => void,
  wrong: (path: string, what: string, expected: Buffer, found: Buffer) => void,
): Promise<void> {
  const { disk } = manifest
  const DISK = '(disk)'
  try {
    const made = resynthesise(manifest)
    const found = sha256(made.metadata)
    if (!found.equals(disk.metadataDigest)) wrong(DISK, 'the digest of its metadata', disk.metadataDigest, found)
    const leaves: Buffer[] = []
    for (const { id } of made.extents) leaves.push((await store.workers.hash(await store.get(id))).leaves)
    const { tree, root } = hashTree(made, leaves)
    if (!root.equals(disk.root)) wrong(DISK, 'its root', disk.root, root)
    const expected = [made.metadataBlocks, made.dataBlocks, tree.length / BLOCK].join(' ')
    const said = [disk.metadataBlocks, disk.dataBlocks, disk.treeBlocks].join(' ')
    if (said !== expected) fault(DISK, new Error(`its regions have ${expected} blocks, the manifest says ${said}`))
    const chunks = treeChunks(made)
    if (disk.tree.length !== chunks.length) fault(DISK, new Error('its hash tree is incomplete'))
    for (const [n, { block, blocks }] of chunks.slice(0, disk.tree.length).entries()) {
      const bytes = await store.get(disk.tree[n]!)
      if (!bytes.equals(tree.subarray(block * BLOCK, (block + blocks) * BLOCK)))
        fault(DISK, new Error(`chunk ${n} of its hash tree is another one`))
    }
  } catch (error) {
    fault(DISK, error)
  }
}

/** Chunks of the start closure loaded at a time. */
const AT_ONCE = 8

/**
 * The launch check: loads and verifies every chunk of the files at INDEXES; the first fault is thrown with the file's
 * path and both digests. Returns what was checked.
 */
export async function checkFiles(
  store: Store,
  manifest: Manifest,
  indexes: readonly number[],
): Promise<{ files: number; chunks: number; bytes: number }> {
  const wanted = new Map<string, { id: ChunkId; index: number }>()
  for (const index of indexes) {
    const content = fileAt(manifest, index)?.content
    const ids =
      content?.kind === 'packed' ? [manifest.packs[content.pack]!.id] : content?.kind === 'chunks' ? content.chunks : []
    for (const id of ids) if (id && !wanted.has(id.toString('latin1'))) wanted.set(id.toString('latin1'), { id, index })
  }
  let bytes = 0
  const queue = wanted.values()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const { id, index } of queue) {
        try {
          const chunk = await store.get(id)
          bytes += chunk.length
        } catch (error) {
          throw namingFile(error, pathOf(manifest.entries, index))
        }
      }
    }),
  )
  return { files: indexes.length, chunks: wanted.size, bytes }
}
