import { readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { OPENING_WRITES } from './tap.ts'

const ROOT = resolve(import.meta.dirname, '../..')

const changed = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.NaN

/**
 * Node's flags for a program of ours. Packages of many files are loaded as the one that `./zos` made of them (src/npm), unless
 * it is older than what it was made from: 0.25 s of CPU and 30 MB less for each process.
 */
export function programFlags(root = ROOT): string[] {
  const packed = changed(join(root, '.cache/packed/npm.mjs'))
  const sources = ['src/npm/index.ts', 'src/npm/zod.ts', 'node_modules/.package-lock.json'].map((path) =>
    changed(join(root, path)),
  )
  const fresh = sources.every((source) => packed > source)
  return ['--disable-warning=ExperimentalWarning', ...(fresh ? ['--conditions=packed'] : [])]
}

/**
 * Node's flags for a program that `confine`s itself: until then it may do all that one of ours does, but write besides WRITES and
 * what is kept of compiled code.
 */
export function confinable(...writes: readonly string[]): string[] {
  const compiled = process.env.NODE_COMPILE_CACHE
  const paths = compiled === undefined ? writes : [...writes, compiled]
  return [
    ...['--permission', '--allow-fs-read=*', ...paths.map((path) => `--allow-fs-write=${path}`)],
    ...['--allow-child-process', '--allow-worker', '--allow-net', '--allow-ffi'],
    // it gives up most of it
    '--disable-warning=SecurityWarning',
  ]
}

/**
 * Starts this program anew with these flags, as the same process; does nothing where it has them. For one that is found out to need
 * them only as it runs: call it before there is anything that would be lost.
 */
export function becomeConfinable(): void {
  if (process.permission) return
  const { execPath, execArgv, argv } = process
  // a process's memory is a file in /proc
  const folders = readdirSync('/').filter((name) => name !== 'proc' && statSync(`/${name}`).isDirectory())
  const writes = [...folders.map((name) => `/${name}`), ...OPENING_WRITES]
  process.execve!(execPath, [execPath, ...execArgv, ...confinable(...writes), ...argv.slice(1)])
}
