import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
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
