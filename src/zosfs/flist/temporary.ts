import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, mkdirSync, openSync, statSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256Hex } from '#codec'
import { tryLock } from '#sys'

/** What a killed process left is kept this long, so that its next attempt can go on from there. Milliseconds. */
const LEFTOVERS = 24 * 3600_000

/** Removes half-written objects and pulls that nobody came back for. */
export async function sweepTemporary(dir: string): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    if (!/^([0-9a-f]{24}|pull-[0-9a-f]{16})$/.test(name)) continue
    const facts = await stat(join(dir, name)).catch(() => undefined)
    if (facts && Date.now() - facts.mtimeMs > LEFTOVERS) await rm(join(dir, name), { recursive: true, force: true })
  }
}

/**
 * A folder below DIR to pull WHAT into, this publish's alone until it is disposed of. It is the same one each time, so that what a
 * killed pull left there is not fetched again, unless another publish is at it.
 */
export function pullFolder(dir: string, what: string): Disposable & { path: string } {
  const claim = (name: string) => {
    const path = join(dir, `pull-${name}`)
    mkdirSync(path, { recursive: true })
    const fd = openSync(path, 'r')
    // another publish may have removed it between the two
    if (tryLock(fd) && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino)
      return { path, [Symbol.dispose]: () => closeSync(fd) }
    closeSync(fd)
    return undefined
  }
  return claim(sha256Hex(Buffer.from(what)).slice(0, 16)) ?? claim(randomBytes(8).toString('hex'))!
}
