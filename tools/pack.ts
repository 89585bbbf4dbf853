// Makes one file of what src/npm/index.ts names; see src/npm/README.md. usage: tools/node.sh tools/pack.ts OUT
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { build } from 'esbuild'

const out = process.argv[2]
if (out === undefined) throw new Error('usage: tools/node.sh tools/pack.ts OUT')
mkdirSync(dirname(out), { recursive: true })
// two commands may do this at once: each its own, the last one stays
const half = `${out}.${process.pid}.tmp`
try {
  await build({
    entryPoints: [join(resolve(import.meta.dirname, '..'), 'src/npm/index.ts')],
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node26',
    minifyWhitespace: true,
    legalComments: 'none',
    // for a package in the older form, which asks for Node's own modules while it runs
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    outfile: half,
    logLevel: 'error',
  })
  renameSync(half, out)
} finally {
  rmSync(half, { force: true })
}
