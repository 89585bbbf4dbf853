import { BLOCK, type Content, type Entry, PACK, PACKED } from '../types.ts'

/** What decides where a file goes: nothing but the tree itself, so that manifests need not store it. */
export type Packable = Pick<Entry, 'type' | 'parent'> & { size?: number }

export type Packing = {
  /** Blocks and members (entry indices, each starting on a block) of every pack. */
  packs: { blocks: number; members: number[] }[]
  /** Place of each packed entry; undefined for all others. */
  places: (Extract<Content, { kind: 'packed' }> | undefined)[]
}

/** True for a file that shares a pack with its neighbours. */
export const isPacked = (size: number): boolean => size > 0 && size <= PACKED

/**
 * Puts the small files of each directory into packs, in the order of the names; a pack that has no room for the next
 * file is closed. Packs are numbered directory by directory, in the order of the entries.
 */
export function packingOf(entries: readonly Packable[]): Packing {
  const perDirectory = new Map<number, number[]>()
  entries.forEach((entry, n) => {
    if (entry.type === 'directory') perDirectory.set(n, [])
    else if (entry.type === 'file' && isPacked(entry.size!)) perDirectory.get(entry.parent)!.push(n)
  })
  const packs: Packing['packs'] = []
  const places: Packing['places'] = new Array(entries.length)
  for (const small of perDirectory.values()) {
    let pack: Packing['packs'][number] | undefined
    for (const n of small) {
      const blocks = Math.ceil(entries[n]!.size! / BLOCK)
      if (!pack || pack.blocks + blocks > PACK / BLOCK) {
        pack = { blocks: 0, members: [] }
        packs.push(pack)
      }
      places[n] = { kind: 'packed', pack: packs.length - 1, block: pack.blocks }
      pack.members.push(n)
      pack.blocks += blocks
    }
  }
  return { packs, places }
}
