import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { CACHE } from '#node'
import { archivesOf, debianCodename } from '#vm'
import { must } from './peer.ts'

/** Debian roots as folders: a base and the same with one program each, so that most files are shared. */
const ROOTS = { base: [], nginx: ['nginx'], redis: ['redis-server'], python: ['python3'] } as const

export type RootName = keyof typeof ROOTS

/** Folders of Debian roots, made once by mmdebstrap and kept in the cache. */
export async function debianRoots(
  names: readonly RootName[] = Object.keys(ROOTS) as RootName[],
): Promise<Record<string, string>> {
  const codename = await debianCodename()
  const [archive] = await archivesOf(codename)
  const made: Record<string, string> = {}
  for (const name of names) {
    const dir = join(CACHE, 'bench', `${codename}-${name}`)
    made[name] = dir
    if (existsSync(dir)) continue
    const work = `${dir}.${process.pid}`
    mkdirSync(join(CACHE, 'bench'), { recursive: true })
    const signed = archive!.signedBy?.startsWith('/') ? `[signed-by=${archive!.signedBy}] ` : ''
    const include = ROOTS[name].length > 0 ? [`--include=${ROOTS[name].join(',')}`] : []
    const clean = '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*'
    must(
      spawnSync('mmdebstrap', [
        '--variant=minbase',
        '--quiet',
        ...include,
        clean,
        codename,
        work,
        `deb ${signed}${archive!.uri} ${codename} main`,
      ]),
      `mmdebstrap ${name}`,
    )
    // device nodes are no part of the comparison; while mmdebstrap runs, mounts are in the way
    rmSync(join(work, 'dev'), { recursive: true, force: true })
    mkdirSync(join(work, 'dev'))
    rmSync(dir, { recursive: true, force: true })
    renameSync(work, dir)
  }
  return made
}

/** Bytes of regular files below DIR, hard links once, no symbolic link followed. */
export function contentBytes(dir: string): number {
  const seen = new Set<string>()
  const below = (at: string): number => {
    let bytes = 0
    for (const e of readdirSync(at, { withFileTypes: true })) {
      const path = join(at, e.name)
      if (e.isDirectory()) bytes += below(path)
      if (!e.isFile()) continue
      const { size, nlink, dev, ino } = lstatSync(path)
      if (nlink === 1 || !seen.has(`${dev}:${ino}`)) bytes += size
      seen.add(`${dev}:${ino}`)
    }
    return bytes
  }
  return below(dir)
}
