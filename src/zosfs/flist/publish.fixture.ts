import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { open } from '#cas'
import { type Library, openLibrary } from '#zosfs'

export const root = mkdtempSync(join(tmpdir(), 'zos-publish-'))
const opened: Library[] = []
after(async () => {
  for (const library of opened) await library[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

let count = 0
export function library(hub?: string): Library {
  const made = openLibrary({ home: join(root, `home-${count++}`), hub: hub && `dir:${hub}` })
  opened.push(made)
  return made
}

export const source = join(root, 'source')
mkdirSync(join(source, 'etc'), { recursive: true })
writeFileSync(join(source, 'large'), randomBytes(1_000_000))
for (let n = 0; n < 40; n++) writeFileSync(join(source, 'etc', `small-${n}`), `content of ${n}\n`.repeat(n * 10))
symlinkSync('large', join(source, 'link'))

export const filesBelow = (dir: string) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => join(f.parentPath, f.name))

/** Flips a bit of the file PATH that is of consequence: zstd has some that change nothing. */
export function flip(path: string): void {
  const id = path.split('/').slice(-2).join('')
  const bytes = readFileSync(path)
  let at = bytes.length >> 1
  do bytes[at++]! ^= 1
  while (open(id, bytes).ok)
  writeFileSync(path, bytes)
}
