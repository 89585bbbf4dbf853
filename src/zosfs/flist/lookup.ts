import type { Entry, Manifest } from '../types.ts'

type Tree = Pick<Manifest, 'entries'>

/** Entry by parent and name, made once per manifest. */
const indexes = new WeakMap<Tree, Map<string, number>>()

function indexOf(tree: Tree): Map<string, number> {
  let index = indexes.get(tree)
  if (!index) {
    index = new Map()
    for (let n = 1; n < tree.entries.length; n++) {
      const { parent, name } = tree.entries[n]!
      index.set(`${parent}/${name.toString('latin1')}`, n)
    }
    indexes.set(tree, index)
  }
  return index
}

/** Linux' own limit (MAXSYMLINKS). */
const MAX_LINKS = 40

/** The entry itself, or what it is another name of. */
export function own(tree: Tree, index: number): Exclude<Entry, { type: 'hardlink' }> {
  const entry = tree.entries[index]!
  return entry.type === 'hardlink' ? (tree.entries[entry.link] as Exclude<Entry, { type: 'hardlink' }>) : entry
}

/**
 * The index of what PATH (latin1, relative to CWD) names, symbolic links followed inside the tree; the last one only
 * if FOLLOW. Undefined when there is nothing.
 */
export function lookup(tree: Tree, path: string, options: { cwd?: string; follow?: boolean } = {}): number | undefined {
  const index = indexOf(tree)
  const todo = (path.startsWith('/') ? path : `${options.cwd ?? '/'}/${path}`).split('/').reverse()
  let at = 0
  let links = 0
  while (todo.length > 0) {
    const part = todo.pop()!
    if (part === '' || part === '.') continue
    if (own(tree, at).type !== 'directory') return undefined
    if (part === '..') {
      at = tree.entries[at]!.parent
      continue
    }
    const next = index.get(`${at}/${part}`)
    if (next === undefined) return undefined
    const entry = own(tree, next)
    const last = todo.every((rest) => rest === '' || rest === '.')
    if (entry.type !== 'symlink' || (last && options.follow === false)) {
      at = next
      continue
    }
    if (++links > MAX_LINKS) return undefined
    const target = entry.target.toString('latin1')
    if (target.startsWith('/')) at = 0
    todo.push(...target.split('/').reverse())
  }
  return at
}
