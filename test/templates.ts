import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

const SHELF = join(import.meta.dirname, '../.cache/templates')
/** A booted guest of a class, which holds nothing of any home; those of images (…-DIGEST) belong to what a test published. */
const OF_CLASS = /^[0-9a-f]{32}-\d+x\d+$/

/** Milliseconds for which a template that was kept may still be lent to a home in use. */
const IN_USE = 3_600_000

/** The templates that lie in DIR itself: what was lent is a link. */
const own = (dir: string): string[] =>
  existsSync(dir)
    ? readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() && OF_CLASS.test(e.name) ? e.name : []))
    : []

/**
 * Links the templates that earlier test files made into the folder DIR of a new home: booting a guest takes 6 s of CPU. The
 * node looks at their hashes and sweeps those of another kernel or agent as it does with its own.
 */
export function lendTemplates(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (const name of own(SHELF)) symlinkSync(join(SHELF, name), join(dir, name))
}

/** Keeps what a home's node made in DIR itself; what is of another kernel or agent goes. */
export function keepTemplates(dir: string): void {
  for (const name of own(dir)) {
    const shelved = join(SHELF, name)
    if (existsSync(shelved)) continue
    mkdirSync(SHELF, { recursive: true, mode: 0o700 })
    for (const old of own(SHELF)) {
      const path = join(SHELF, old)
      const isOther = old.slice(0, 32) !== name.slice(0, 32)
      if (isOther && statSync(path).mtimeMs < Date.now() - IN_USE) rmSync(path, { recursive: true, force: true })
    }
    // whole or not at all: another test file may look, or do the same
    const work = `${shelved}.${process.pid}`
    const { status } = spawnSync('cp', ['-r', '--sparse=always', '--reflink=auto', join(dir, name), work])
    try {
      // a link that leads nowhere is none
      rmSync(shelved, { force: true })
      if (status === 0) renameSync(work, shelved)
    } catch {}
    rmSync(work, { recursive: true, force: true })
  }
}
