import type { Manifest } from '../types.ts'
import type { ReadFile } from './closure.ts'
import { fileAt } from './content.ts'
import type { Elf } from './elf.ts'
import { lookup, own } from './lookup.ts'

/** glibc's own directories on Debian and Fedora kinds, with the architectures' (elf/rtld.c, multiarch). */
const TRIPLETS = ['x86_64-linux-gnu', 'aarch64-linux-gnu', 'i386-linux-gnu']
const DEFAULTS = [
  ...TRIPLETS.flatMap((triplet) => [`/lib/${triplet}`, `/usr/lib/${triplet}`]),
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
]
/** musl ldso/dynlink.c */
const MUSL_DEFAULTS = ['/lib', '/usr/local/lib', '/usr/lib']
/** Folders glibc looks into first, best processor first (elf/dl-hwcaps_subdirs.c). */
const HWCAPS = ['x86-64-v4', 'x86-64-v3', 'x86-64-v2'].map((level) => `glibc-hwcaps/${level}`)

const LIMIT = { depth: 8, bytes: 64 << 10 }

type Tree = Pick<Manifest, 'entries'>
export type Search = { dirs: string[]; rpath: string[] }

/**
 * Where the dynamic linker of TREE looks for the libraries an object needs, in order: DT_RPATH (its own and what it
 * inherits, unless it has DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH, ld.so.conf, the defaults (ld.so(8)). The cache is
 * left aside: it lists the same directories.
 */
export function searchPath(tree: Tree, read: ReadFile, libraryPath: string | undefined) {
  const text = async (path: string): Promise<string | undefined> => {
    const index = lookup(tree, path)
    return index === undefined || !fileAt(tree, index)
      ? undefined
      : (await read(index, 0, LIMIT.bytes)).toString('latin1')
  }
  const config = async (path: string, depth = 0): Promise<string[]> => {
    const dirs: string[] = []
    for (const raw of ((await text(path)) ?? '').split('\n')) {
      const line = raw.replace(/#.*/, '').trim()
      const [, pattern] = /^include\s+(\S+)/.exec(line) ?? []
      if (pattern && depth < LIMIT.depth) {
        for (const file of matching(tree, pattern.startsWith('/') ? pattern : `/etc/${pattern}`))
          dirs.push(...(await config(file, depth + 1)))
      } else if (line.startsWith('/')) dirs.push(line.replace(/\/+$/, ''))
    }
    return dirs
  }
  let glibc: Promise<string[]> | undefined
  let musl: Promise<string[]> | undefined
  const system = (isMusl: boolean): Promise<string[]> => {
    if (!isMusl) {
      glibc ??= config('/etc/ld.so.conf').then((dirs) =>
        [...new Set([...dirs, ...DEFAULTS])].flatMap((dir) => [...HWCAPS.map((sub) => `${dir}/${sub}`), dir]),
      )
      return glibc
    }
    musl ??= Promise.all(['x86_64', 'aarch64'].map((arch) => text(`/etc/ld-musl-${arch}.path`))).then((files) => {
      const own = files.find((file) => file !== undefined)
      return own === undefined ? MUSL_DEFAULTS : own.split(/[:\n]/).filter(Boolean)
    })
    return musl
  }
  return async (elf: Elf, origin: string, inherited: string[], isMusl: boolean): Promise<Search> => {
    const expand = (dirs: string[]) =>
      dirs.map((dir) =>
        dir
          .replace(/\$(ORIGIN\b|\{ORIGIN\})/g, () => origin)
          .replace(/\$(LIB\b|\{LIB\})/g, 'lib/x86_64-linux-gnu')
          .replace(/\$(PLATFORM\b|\{PLATFORM\})/g, 'x86_64'),
      )
    const rpath = elf.runpath.length > 0 ? inherited : [...expand(elf.rpath), ...inherited]
    const fromEnvironment = (libraryPath ?? '').split(/[:;]/).filter(Boolean)
    const before = [...(elf.runpath.length > 0 ? [] : rpath), ...fromEnvironment, ...expand(elf.runpath)]
    return { dirs: [...before, ...(await system(isMusl))], rpath }
  }
}

/** Files that a pattern with `*` in its last component matches, in the order of the names. */
function matching(tree: Tree, pattern: string): string[] {
  const slash = pattern.lastIndexOf('/')
  const dir = pattern.slice(0, slash)
  const at = lookup(tree, dir || '/')
  if (at === undefined || own(tree, at).type !== 'directory') return []
  const parts = pattern
    .slice(slash + 1)
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  const expression = new RegExp(`^${parts.join('.*')}$`)
  return tree.entries
    .filter((entry, n) => n > 0 && entry.parent === at && expression.test(entry.name.toString('latin1')))
    .map((entry) => `${dir}/${entry.name.toString('latin1')}`)
}
