import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { reasonOf, sha256Hex, ZosError } from '#codec'
import { writeAtomic } from './file.ts'

/**
 * Names the outcome of a build by the contents of its inputs, and finds it again by their sizes and times alone: a stamp
 * (named after path, size, mtime of all inputs) holds the content key. Throws `not-writable` where it has to be made and cannot.
 */
export async function byContent(
  dir: string,
  files: readonly string[],
  extra: string,
  make: (key: string) => Promise<void>,
): Promise<string> {
  const facts = files.map((file) => {
    const { size, mtimeMs, ino } = statSync(file)
    return `${file}\0${size}\0${mtimeMs}\0${ino}`
  })
  const stamp = join(dir, 'stamps', sha256Hex(Buffer.from([extra, ...facts].join('\n'))).slice(0, 32))
  const known = await readFile(stamp, 'utf8').catch(() => '')
  if (known !== '' && exists(join(dir, known))) return known
  const contents = files.map((file) => sha256Hex(readFileSync(file)))
  const key = sha256Hex(Buffer.from([extra, ...contents].join('\n'))).slice(0, 32)
  if (!exists(join(dir, key))) await makeIn(dir, () => make(key))
  // it spares reading the inputs again and nothing else: a checkout that cannot be written, or is seen at another place, works without
  await mkdir(join(dir, 'stamps'), { recursive: true })
    .then(() => writeAtomic(stamp, key, { sync: false }))
    .catch(() => {})
  return key
}

/** DIR, or where it would be made. */
function writable(dir: string): boolean {
  if (!exists(dir)) return dir === dirname(dir) || writable(dirname(dir))
  try {
    accessSync(dir, constants.W_OK)
    return statSync(dir).isDirectory()
  } catch {
    return false
  }
}

async function makeIn(dir: string, make: () => Promise<void>): Promise<void> {
  try {
    await make()
  } catch (cause) {
    if (writable(dir)) throw cause
    throw new ZosError(
      `Build in "${dir}": ${reasonOf(cause)}; run "./zos setup" once as somebody who may write there`,
      { code: 'not-writable', cause },
    )
  }
}

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined

/** Files below DIR whose names end in one of ENDINGS, sorted. */
export function filesBelow(dir: string, endings: readonly string[]): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((f) => endings.some((e) => f.endsWith(e)) && !f.endsWith('.test.ts'))
    .sort()
    .map((f) => join(dir, f))
}

/** Leaves nothing half-made behind. */
export async function withScratch<T>(dir: string, run: (dir: string) => Promise<T>): Promise<T> {
  await mkdir(dir, { recursive: true })
  try {
    return await run(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
