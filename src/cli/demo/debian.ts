import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { canonicalJson, sha256Hex } from '#codec'
import { run } from '#sys'
import { archivesOf, debianCodename } from '#vm'
import { ociLayout, type ProcessConfig } from './oci.ts'

/** An image as a Dockerfile would make it from Debian's packages. */
export type DebianRecipe = {
  name: string
  packages: readonly string[]
  /** mmdebstrap's variant (mmdebstrap(1)). */
  variant?: 'minbase' | 'extract'
  /** Shell lines run after the packages are in (with `extract`: unpacked); `$1` is the root. */
  hooks?: readonly string[]
  config: ProcessConfig
}

const CLEAN = 'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*'

/** The OCI layout of RECIPE, made once per recipe below CACHEDIR/images; gives its folder. About a minute. */
export async function debianImage(
  cacheDir: string,
  recipe: DebianRecipe,
  say: (line: string) => void,
): Promise<string> {
  const codename = await debianCodename()
  const key = sha256Hex(Buffer.from(canonicalJson({ ...recipe, codename }))).slice(0, 12)
  const dir = join(cacheDir, 'images', `${recipe.name}-${key}`)
  if (existsSync(join(dir, 'index.json'))) return dir
  const work = `${dir}.${process.pid}`
  mkdirSync(work, { recursive: true })
  try {
    const [archive] = await archivesOf(codename)
    const signed = archive!.signedBy?.startsWith('/') ? ` [signed-by=${archive!.signedBy}]` : ''
    const variant = recipe.variant ?? 'minbase'
    const hook = variant === 'extract' ? '--extract-hook' : '--customize-hook'
    say(`making a Debian ${codename} root with ${recipe.packages.join(', ')} (mmdebstrap, about a minute, once)`)
    const tar = join(work, 'layer.tar')
    await run(
      'mmdebstrap',
      [
        `--variant=${variant}`,
        '--quiet',
        `--include=${recipe.packages.join(',')}`,
        ...[...(recipe.hooks ?? []), CLEAN].map((line) => `${hook}=${line}`),
        codename,
        tar,
        `deb${signed} ${archive!.uri} ${codename} main`,
      ],
      { timeout: 900_000 },
    )
    await ociLayout(work, [tar], recipe.config)
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dirname(dir), { recursive: true })
    renameSync(work, dir)
    return dir
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
