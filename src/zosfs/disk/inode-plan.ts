import { ZosError } from '#codec'
import { BLOCK, type Entry } from '../types.ts'
import { mapOf } from './data-plan.ts'
import { packNames } from './directory.ts'
import { pathOf } from './path.ts'
import { xattrBytes } from './xattr.ts'

/** Bytes of an extended inode (erofs_fs.h struct erofs_inode_extended). */
export const INODE = 64
/** Inodes are addressed in slots of 32 bytes: nid = byte / 32. */
const SLOT = 32
/** The superblock ends here: the root inode comes first, so that its nid fits 16 bits. */
const FIRST = 1024 + 128
/** Linux' PATH_MAX less the NUL: no symbolic link is longer. */
const TARGET_LIMIT = 4095

const DOT = Buffer.of(0x2e)
const DOTDOT = Buffer.of(0x2e, 0x2e)

export type Child = { name: Buffer; entry: number }

export type InodePlan = {
  /** Byte of each entry's inode; a hard link has its target's. */
  at: Float64Array
  nlink: Uint32Array
  /** Bytes of extended attributes of each entry. */
  xattrs: Uint32Array
  /** Directories and symbolic links: 1 when the last, partial block follows the inode. */
  inline: Uint8Array
  /** Directories and symbolic links: first of the blocks that are not inline, or 0. */
  blocksAt: Uint32Array
  /** Names of a directory in disk order, `.` and `..` among them. */
  children: (directory: number) => Child[]
  inodes: number
  metadataBlocks: number
}

/** Lists of children by directory, from entries whose siblings are in byte order already. */
function childLists(entries: readonly Entry[]): (directory: number) => Child[] {
  const first = new Int32Array(entries.length).fill(-1)
  const last = new Int32Array(entries.length).fill(-1)
  const next = new Int32Array(entries.length).fill(-1)
  for (let n = 1; n < entries.length; n++) {
    const { parent, name } = entries[n]!
    const before = last[parent] ?? -1
    const fits = parent < n && entries[parent]?.type === 'directory' && name.length > 0 && name.length <= 255
    if (!fits || (before >= 0 && entries[before]!.name.compare(name) >= 0) || !plain(name)) {
      throw new ZosError(`Lay out "${pathOf(entries, n)}": not in canonical order, or not a name; publish it again`, {
        code: 'bad-tree',
      })
    }
    if (before < 0) first[parent] = n
    else next[before] = n
    last[parent] = n
  }
  return (directory) => {
    const list: Child[] = []
    for (let n = first[directory]!; n >= 0; n = next[n]!) list.push({ name: entries[n]!.name, entry: n })
    // `!`, `+` and `-` sort before `.`
    for (const [name, entry] of [
      [DOTDOT, entries[directory]!.parent],
      [DOT, directory],
    ] as const) {
      const at = list.findIndex((child) => child.name.compare(name) > 0)
      list.splice(at < 0 ? list.length : at, 0, { name, entry })
    }
    return list
  }
}

const plain = (name: Buffer) => !name.includes(0) && !name.includes(0x2f) && !name.equals(DOT) && !name.equals(DOTDOT)

/**
 * Gives each entry the byte of its inode, in the order of the entries, and whole blocks behind the inodes to
 * directories and symbolic links that do not fit beside their inode.
 */
export function planInodes(entries: readonly Entry[]): InodePlan {
  const count = entries.length
  if (entries[0]?.type !== 'directory') throw new ZosError('Lay out disk: the tree has no root', { code: 'bad-tree' })
  const children = childLists(entries)
  const at = new Float64Array(count)
  const nlink = new Uint32Array(count)
  const xattrs = new Uint32Array(count)
  const inline = new Uint8Array(count)
  const blocksAt = new Uint32Array(count)
  const spilled: [entry: number, blocks: number][] = []
  let free = FIRST
  let inodes = 0

  for (let n = 0; n < count; n++) {
    const entry = entries[n]!
    if (entry.type === 'hardlink') {
      const target = entries[entry.link]
      if (entry.link >= n || !target || target.type === 'directory' || target.type === 'hardlink') {
        throw new ZosError(`Lay out "${pathOf(entries, n)}": links to what cannot be linked; publish it again`, {
          code: 'bad-tree',
        })
      }
      at[n] = at[entry.link]!
      nlink[entry.link]!++
      continue
    }
    inodes++
    nlink[n] = entry.type === 'directory' ? 2 : 1
    if (entry.type === 'directory' && n > 0) nlink[entry.parent]!++
    xattrs[n] = xattrBytes(entry.xattrs, () => pathOf(entries, n))
    const head = INODE + xattrs[n]!
    let body = 0
    if (entry.type === 'file') body = 4 * mapOf(entry.size, entry.content).entries
    else if (entry.type === 'symlink' || entry.type === 'directory') {
      const size = entry.type === 'symlink' ? entry.target.length : packNames(children(n)).size
      if (entry.type === 'symlink' && (size === 0 || size > TARGET_LIMIT || entry.target.includes(0))) {
        throw new ZosError(`Lay out "${pathOf(entries, n)}": a symbolic link to ${size} bytes that are no path`, {
          code: 'bad-tree',
        })
      }
      // the kernel wants inode and inline data of a symbolic link in one block; directories follow the same rule
      const tail = size % BLOCK
      if (tail > 0 && head + tail <= BLOCK) {
        inline[n] = 1
        body = tail
      }
      const blocks = Math.ceil((size - body) / BLOCK)
      if (blocks > 0) spilled.push([n, blocks])
      if (body > 0 && (free % BLOCK) + head + body > BLOCK) free = Math.ceil(free / BLOCK) * BLOCK
    }
    at[n] = free
    free = Math.ceil((free + head + body) / SLOT) * SLOT
  }

  let block = Math.ceil(free / BLOCK)
  for (const [n, blocks] of spilled) {
    blocksAt[n] = block
    block += blocks
  }
  return { at, nlink, xattrs, inline, blocksAt, children, inodes, metadataBlocks: block }
}
