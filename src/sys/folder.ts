import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'

/**
 * Makes the folder PATH, which a person named, and those above it, with MODE where they are missing. Throws `bad-folder` where
 * that cannot be. Not mkdir's own recursion: where nothing can be made, as below /proc, Node's does not end.
 */
export function makeFolder(path: string, mode = 0o777): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return
    if (dirname(path) !== path) makeFolder(dirname(path), mode)
    mkdirSync(path, { mode })
  } catch (cause) {
    if (cause instanceof ZosError) throw cause
    // somebody else made it just now
    if (codeOf(cause) === 'EEXIST' && statSync(path, { throwIfNoEntry: false })?.isDirectory()) return
    const why = /^(EEXIST|ENOTDIR)$/.test(codeOf(cause)) ? 'what is there is no folder' : reasonOf(cause)
    throw new ZosError(`Make folder "${path}": ${why}; name another one`, { code: 'bad-folder', kind: 'node', cause })
  }
}
