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
  /** FROM scratch: nothing but these files of the unpacked packages, as tar's wildcards from the root. */
  only?: readonly string[]
  /** Shell lines run after the packages are in; `$1` is the root. */
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
    say(`making a Debian ${codename} root with ${recipe.packages.join(', ')} (mmdebstrap, about a minute, once)`)
    const tar = join(work, 'layer.tar')
    await run(
      'mmdebstrap',
      [
        `--variant=${recipe.only ? 'extract' : 'minbase'}`,
        '--quiet',
        `--include=${recipe.packages.join(',')}`,
        ...[...(recipe.hooks ?? []), CLEAN].map((line) => `--customize-hook=${line}`),
        codename,
        tar,
        `deb${signed} ${archive!.uri} ${codename} main`,
      ],
      { timeout: 900_000 },
    )
    if (recipe.only) await keepOnly(tar, recipe.only)
    await ociLayout(work, [tar], recipe.config)
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dirname(dir), { recursive: true })
    renameSync(work, dir)
    return dir
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function keepOnly(tar: string, paths: readonly string[]): Promise<void> {
  const tree = `${tar}.tree`
  mkdirSync(tree)
  await run('tar', ['-xf', tar, '-C', tree, '--wildcards', ...paths.map((path) => `./${path}`)])
  await run('tar', ['--sort=name', '--numeric-owner', '-cf', tar, '-C', tree, '.'])
  rmSync(tree, { recursive: true })
}
