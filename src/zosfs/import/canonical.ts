import { chunkSizeOf, TYPE_BITS } from '../flist/layout.ts'
import { packingOf } from '../flist/packing.ts'
import { BLOCK, type ChunkId, type Entry, type Manifest } from '../types.ts'
import type { Sink } from './sink.ts'
import type { Node, Tree } from './tree.ts'

/**
 * The tree's entries in canonical order (depth first, names by their bytes) and its packs, all chunks stored.
 * The same tree gives the same entries, whatever order it was read in.
 */
export async function finishTree(tree: Tree, sink: Sink): Promise<Pick<Manifest, 'entries' | 'packs'>> {
  if (!tree.explicitRoot) {
    // images rarely describe their root; /usr is made by the same hands, and composefs takes its attributes too
    const usr = tree.root.children.get('usr')?.node
    if (usr?.type === 'directory') tree.root.meta = usr.meta
  }
  const entries: Entry[] = []
  const nodes: Node[] = []
  const first = new Map<Node, number>()

  const visit = (node: Node, name: string, parent: number) => {
    const index = entries.length
    const { mode: bits, ...meta } = node.meta
    const mode = node.type === 'symlink' ? 0o777 : bits // Linux knows no other; archives say all kinds of things
    const base = { parent, name: Buffer.from(name, 'latin1'), ...meta, mode: TYPE_BITS[node.type] | mode }
    const link = first.get(node)
    nodes.push(node)
    if (link !== undefined) {
      entries.push({ ...base, type: 'hardlink', link })
      return
    }
    first.set(node, index)
    switch (node.type) {
      case 'directory':
        entries.push({ ...base, type: 'directory' })
        for (const child of [...node.children.keys()].sort()) visit(node.children.get(child)!.node, child, index)
        return
      case 'file': {
        const { size, fingerprint, content } = node.data
        const chunks = content.kind === 'chunks' ? content.chunks : undefined
        entries.push({
          ...base,
          type: 'file',
          size,
          fingerprint,
          content: chunks ? { kind: 'chunks', chunkSize: chunkSizeOf(size), chunks } : { kind: 'empty' },
        })
        return
      }
      case 'symlink':
        entries.push({ ...base, type: 'symlink', target: node.target })
        return
      case 'character':
      case 'block':
        entries.push({ ...base, type: node.type, major: node.major, minor: node.minor })
        return
      default:
        entries.push({ ...base, type: node.type })
    }
  }
  visit(tree.root, '', 0)

  const packing = packingOf(entries)
  const packs: Manifest['packs'] = []
  for (const [n, { blocks, members }] of packing.packs.entries()) {
    const bytes = Buffer.from(new ArrayBuffer(blocks * BLOCK))
    const leaves: Buffer[] = []
    for (const member of members) {
      const node = nodes[member]!
      const entry = entries[member]!
      const place = packing.places[member]!
      if (node.type !== 'file' || node.data.content.kind !== 'small' || entry.type !== 'file')
        throw new Error('unreachable')
      sink.spool.read(node.data.content.bytes).copy(bytes, place.block * BLOCK)
      leaves.push(node.data.content.leaves)
      entry.content = place
    }
    packs.push({ id: undefined as unknown as ChunkId, blocks })
    await sink.put(
      bytes,
      (id) => {
        packs[n]!.id = id
      },
      Buffer.concat(leaves),
    )
  }
  await sink.settled()
  // known only now that every chunk is hashed
  nodes.forEach((node, n) => {
    const entry = entries[n]!
    if (node.type === 'file' && entry.type === 'file') entry.fingerprint = node.data.fingerprint
  })
  return { entries, packs }
}
