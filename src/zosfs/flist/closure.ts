import type { Manifest } from '../types.ts'
import { fileAt } from './content.ts'
import { type Elf, readElf } from './elf.ts'
import { searchPath } from './library_path.ts'
import { lookup } from './lookup.ts'

/** Reads part of the regular file at entry INDEX. */
export type ReadFile = (index: number, at: number, length: number) => Promise<Buffer>

export type Start = { argv: readonly string[]; env: readonly string[]; cwd: string }

/** What Docker gives a process that has none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** `#!` interpreters of interpreters (Linux stops at 4, fs/exec.c), and files in all. */
const LIMIT = { chain: 5, files: 4096 }

type Facts = { elf: Elf | undefined; script: string[] | undefined }
/** What was read of files before: a launch with another argv mostly meets the same ones. */
const known = new WeakMap<object, Map<number, Promise<Facts>>>()

/** The words of a `#!` line: interpreter, and the rest as one argument as Linux passes it. */
function scriptOf(head: Buffer): string[] | undefined {
  if (head.toString('latin1', 0, 2) !== '#!') return undefined
  const [line = ''] = head.toString('latin1', 2, 256).split('\n')
  const [, interpreter, argument] = /^[ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*$/.exec(line) ?? []
  return interpreter ? [interpreter, ...(argument ? [argument] : [])] : undefined
}

/**
 * Indices, ascending, of the regular files that must be whole before the process starts: the entry file found as
 * execvp does, its `#!` chain, ELF interpreter and, transitively, every library the dynamic linker will load; also
 * words of argv that name programs (`docker-entrypoint.sh nginx`). What is missing is left for the process to find.
 */
export async function startClosure(tree: Pick<Manifest, 'entries'>, read: ReadFile, start: Start): Promise<number[]> {
  const closure = new Set<number>()
  const variable = (name: string) => start.env.find((e) => e.startsWith(`${name}=`))?.slice(name.length + 1)
  const path = variable('PATH') ?? DEFAULT_PATH
  let facts = known.get(tree)
  if (!facts) {
    facts = new Map()
    known.set(tree, facts)
  }
  const factsOf = (index: number): Promise<Facts> => {
    let found = facts.get(index)
    if (!found) {
      found = read(index, 0, 256).then(async (head) => ({
        script: scriptOf(head),
        elf: await readElf((at, length) => read(index, at, length)),
      }))
      facts.set(index, found)
      found.catch(() => facts.delete(index))
    }
    return found
  }
  /** Entry index of a regular file, its first name when it has several. */
  const fileNamed = (name: string): number | undefined => {
    const index = lookup(tree, name, { cwd: start.cwd })
    if (index === undefined || !fileAt(tree, index)) return undefined
    const entry = tree.entries[index]!
    return entry.type === 'hardlink' ? entry.link : index
  }
  const program = (word: string): number | undefined => {
    const places = word.includes('/') ? [word] : path.split(':').map((dir) => `${dir || '.'}/${word}`)
    for (const place of places) {
      const index = fileNamed(Buffer.from(place).toString('latin1'))
      if (index !== undefined && tree.entries[index]!.mode & 0o111) return index
    }
    return undefined
  }

  const searchOf = searchPath(tree, read, variable('LD_LIBRARY_PATH'))
  const addLibraries = async (index: number, elf: Elf, inherited: string[], musl: boolean): Promise<void> => {
    const place = directoryOf(tree, index)
    const { dirs, rpath } = await searchOf(elf, place, inherited, musl)
    for (const needed of elf.needed) {
      for (const candidate of needed.includes('/') ? [needed] : dirs.map((dir) => `${dir}/${needed}`)) {
        const found = fileNamed(candidate)
        if (found === undefined) continue
        const library = (await factsOf(found)).elf
        if (library?.kind !== elf.kind) continue
        if (!closure.has(found) && closure.size < LIMIT.files) {
          closure.add(found)
          await addLibraries(found, library, rpath, musl)
        }
        break
      }
    }
  }
  const addProgram = async (index: number, depth: number): Promise<void> => {
    if (closure.has(index) || depth > LIMIT.chain) return
    closure.add(index)
    const { script, elf } = await factsOf(index)
    if (script) {
      const words = /\/env$/.test(script[0]!)
        ? [script[0]!, ...(script[1] ?? '').replace(/^-S */, '').split(/\s+/, 1)]
        : script.slice(0, 1)
      for (const word of words) {
        const found = word ? program(word) : undefined
        if (found !== undefined) await addProgram(found, depth + 1)
      }
    }
    if (!elf) return
    const interpreter = elf.interpreter === undefined ? undefined : fileNamed(elf.interpreter)
    if (interpreter !== undefined) closure.add(interpreter)
    await addLibraries(index, elf, [], /ld-musl/.test(elf.interpreter ?? ''))
  }

  for (const word of start.argv) {
    const found = /^[^\s]+$/.test(word) ? program(word) : undefined
    if (found !== undefined) await addProgram(found, 0)
  }
  return [...closure].sort((a, b) => a - b)
}

/** Path (latin1) of the directory the entry is in: what `$ORIGIN` stands for. */
function directoryOf(tree: Pick<Manifest, 'entries'>, index: number): string {
  const parts: string[] = []
  for (let n = tree.entries[index]!.parent; n !== 0; n = tree.entries[n]!.parent) {
    parts.push(tree.entries[n]!.name.toString('latin1'))
  }
  return `/${parts.reverse().join('/')}`
}
