import { ZosError } from '#codec'
import { LIMITS } from '../flist/layout.ts'
import type { ChunkId, EntryBase, Xattr } from '../types.ts'
import type { SpoolRef } from './spool.ts'

export type Meta = {
  /** Permission bits only. */
  mode: number
  uid: number
  gid: number
  mtime: EntryBase['mtime']
  xattrs: Xattr[]
}

/** What became of a regular file's bytes while they were read. */
export type FileData = {
  size: number
  fingerprint: Buffer
  content:
    | { kind: 'empty' }
    /** To be packed once the tree is whole: the bytes, and their leaf hashes. */
    | { kind: 'small'; bytes: SpoolRef; leaves: Buffer }
    | { kind: 'chunks'; chunks: (ChunkId | undefined)[] }
}

export type Shape =
  | { type: 'directory'; children: Map<string, Slot> }
  | { type: 'file'; data: FileData }
  | { type: 'symlink'; target: Buffer }
  | { type: 'character' | 'block'; major: number; minor: number }
  | { type: 'fifo' | 'socket' }

/** An inode: several slots may hold the same node, which is what a hard link is. */
export type Node = { meta: Meta } & Shape
export type Directory = Extract<Node, { type: 'directory' }>
/** A name, and the layer that set it last. */
export type Slot = { node: Node; layer: number }

/**
 * A file tree in memory. Names are latin1 strings, one character a byte: their order is that of the bytes.
 * Nothing is ever written to the host by path: no name and no link can lead out of it.
 */
export type Tree = { root: Directory; explicitRoot: boolean; slots: number }

const implied = (): Meta => ({ mode: 0o755, uid: 0, gid: 0, mtime: { seconds: 0n, nanoseconds: 0 }, xattrs: [] })

export function emptyTree(): Tree {
  return { root: { meta: implied(), type: 'directory', children: new Map() }, explicitRoot: false, slots: 0 }
}

const show = (path: string) => Buffer.from(path, 'latin1').toString()

const bad = (path: string, why: string, code = 'bad-entry'): ZosError =>
  new ZosError(`Import "${show(path.slice(0, 200))}": ${why}`, {
    code,
    details: { path: show(path.slice(0, 4096)) },
  })

const refuse = (...args: Parameters<typeof bad>): never => {
  throw bad(...args)
}

/** The parts of a path in an archive. Refuses `..` and names no file can have; a leading `/` or `./` means the root. */
export function partsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  for (const part of parts) {
    if (part === '..') refuse(path, 'the path has a ".." in it; the archive is hostile or broken')
    if (part.length > LIMITS.name) refuse(path, `a name of ${part.length} bytes is longer than ${LIMITS.name}`)
    if (part.includes('\0')) refuse(path, 'a name has a NUL byte in it')
  }
  if (parts.length > LIMITS.depth) refuse(path, `${parts.length} levels are deeper than ${LIMITS.depth}`)
  return parts
}

/** Symbolic links followed on the way to one file: Linux' own limit (MAXSYMLINKS). */
const MAX_LINKS = 40

/**
 * The directory that PARTS lead to, symbolic links on the way followed inside the tree, as a kernel would with the
 * tree as its root. With LAYER, what is missing is made.
 */
function directoryAt(tree: Tree, parts: readonly string[], layer?: number): Directory | undefined {
  const path = parts.join('/')
  let todo = [...parts]
  let links = 0
  const stack: Directory[] = [tree.root]
  while (todo.length > 0) {
    const [part, ...rest] = todo as [string, ...string[]]
    todo = rest
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (stack.length > 1) stack.pop()
      continue
    }
    const here = stack.at(-1)!
    const slot = here.children.get(part)
    if (!slot) {
      if (layer === undefined) return undefined
      const made: Directory = { meta: implied(), type: 'directory', children: new Map() }
      setSlot(tree, here, part, made, layer, path)
      stack.push(made)
    } else if (slot.node.type === 'directory') stack.push(slot.node)
    else if (slot.node.type === 'symlink') {
      if (++links > MAX_LINKS)
        return layer === undefined ? undefined : refuse(path, 'too many symbolic links on the way')
      const target = slot.node.target.toString('latin1')
      if (target.startsWith('/')) stack.length = 1
      todo = [...target.split('/'), ...todo]
    } else if (layer === undefined) return undefined
    else refuse(path, `"${show(part)}" on the way is a ${slot.node.type}, not a directory`)
  }
  return stack.at(-1)!
}

function setSlot(tree: Tree, parent: Directory, name: string, node: Node, layer: number, path: string): void {
  if (!parent.children.has(name) && ++tree.slots > LIMITS.entries)
    refuse(path, `more than ${LIMITS.entries} files`, 'tree-too-large')
  parent.children.set(name, { node, layer })
}

/** Sets what PATH is. A directory over a directory keeps what is in it and takes the new metadata. */
export function place(tree: Tree, path: string, node: Node, layer = 0): void {
  const parts = partsOf(path)
  const name = parts.pop()
  if (name === undefined) {
    if (node.type !== 'directory') refuse(path || '/', 'the root must be a directory')
    tree.root.meta = node.meta
    tree.explicitRoot = true
    return
  }
  const parent = directoryAt(tree, parts, layer)!
  const old = parent.children.get(name)
  if (node.type === 'directory' && old?.node.type === 'directory') {
    // a new object: another slot of an earlier snapshot never shares a directory, so this changes this one only
    old.node.meta = node.meta
    old.layer = layer
  } else setSlot(tree, parent, name, node, layer, path)
}

/** Another name for what TARGET is; it must be there already. */
export function placeLink(tree: Tree, path: string, target: string, layer = 0): void {
  const parts = partsOf(target)
  const name = parts.pop()
  const slot = name === undefined ? undefined : directoryAt(tree, parts)?.children.get(name)
  if (!slot) throw bad(path, `it is a hard link to "${show(target)}", which is not there`)
  if (slot.node.type === 'directory') refuse(path, `it is a hard link to the directory "${show(target)}"`)
  place(tree, path, slot.node, layer)
}

/** Drops everything below DIRECTORY that a layer before LAYER set, also below directories this layer set anew. */
function prune(directory: Directory, layer: number): void {
  for (const [name, slot] of directory.children) {
    if (slot.node.type === 'directory') {
      prune(slot.node, layer)
      // a directory that holds something of this layer stays as its way there
      if (slot.layer < layer && slot.node.children.size === 0) directory.children.delete(name)
    } else if (slot.layer < layer) directory.children.delete(name)
  }
}

/**
 * Applies `.wh.NAME` of LAYER: hides NAME as earlier layers left it. What LAYER itself put there stays, in whatever
 * order the archive has them (OCI image-spec layer.md: whiteouts hide lower layers only).
 */
export function whiteout(tree: Tree, directoryPath: string, name: string, layer: number): void {
  const directory = directoryAt(tree, partsOf(directoryPath))
  const slot = directory?.children.get(name)
  if (!slot) return
  if (slot.node.type === 'directory') prune(slot.node, layer)
  const holdsNew = slot.node.type === 'directory' && slot.node.children.size > 0
  if (slot.layer < layer && !holdsNew) directory!.children.delete(name)
}

/** Applies `.wh..wh..opq` of LAYER: hides everything earlier layers left in the directory. */
export function opaque(tree: Tree, directoryPath: string, layer: number): void {
  const directory = directoryAt(tree, partsOf(directoryPath))
  if (directory) prune(directory, layer)
}
