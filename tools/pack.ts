// Makes a file each of what src/npm/index.ts and src/npm/zod.ts name; see src/npm/README.md. usage: tools/node.sh tools/pack.ts FOLDER
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { build } from 'esbuild'

const folder = process.argv[2]
if (folder === undefined) throw new Error('usage: tools/node.sh tools/pack.ts FOLDER')
const sources = join(resolve(import.meta.dirname, '..'), 'src/npm')
/** By which one sees whether they are of today, so it comes last. */
const LAST = 'npm.mjs'
mkdirSync(folder, { recursive: true })
// two commands may do this at once: each its own, the last one stays
const half = join(folder, `${process.pid}.tmp`)
try {
  await build({
    entryPoints: { npm: join(sources, 'index.ts'), zod: join(sources, 'zod.ts') },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node26',
    minifyWhitespace: true,
    legalComments: 'none',
    // for a package in the older form, which asks for Node's own modules while it runs
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    outdir: half,
    outExtension: { '.js': '.mjs' },
    logLevel: 'error',
  })
  for (const name of ['zod.mjs', LAST]) renameSync(join(half, name), join(folder, name))
} finally {
  rmSync(half, { recursive: true, force: true })
}
