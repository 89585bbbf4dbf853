// The gate: types, lint and format, boundaries, dependencies, docs, tests. usage: npm run ok [-- --fast] [DIR]
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join, resolve } from 'node:path'

const own = resolve(import.meta.dirname, '..')
const bin = (name: string) => join(own, 'node_modules/.bin', name)
const fast = process.argv.includes('--fast')
const [dir] = process.argv.slice(2).filter((word) => word !== '--fast')
const root = resolve(dir ?? own)

const found = (...patterns: string[]): string[] => globSync(patterns, { cwd: root }).sort()
/**
 * Unit tests sit beside their source; what drives the product from outside is in test/. What boots machines takes longest and
 * comes first: a long file that begins last leaves a core idle.
 */
const first = [...(fast ? [] : found('test/**/*.test.ts')), ...found('src/vm/**/*.test.ts')]
const tests = [...new Set([...first, ...found('{src,tools,guest}/**/*.test.ts')])]

const steps: [string, string, string[]][] = [
  ['types', bin('tsc'), ['-p', root]],
  ['lint', bin('biome'), ['check', '--error-on-warnings', root]],
  ['boundaries', process.execPath, [join(own, 'tools/check-boundaries.ts'), root]],
  ['dependencies', process.execPath, [join(own, 'tools/check-dependencies.ts'), root]],
  ['docs', process.execPath, [join(own, 'tools/check-docs.ts'), root]],
  ['tests', process.execPath, ['--disable-warning=ExperimentalWarning', join(own, 'tools/run-tests.ts'), ...tests]],
]

for (const [name, file, args] of steps) {
  const begun = performance.now()
  const { status } = spawnSync(file, args, {
    stdio: 'inherit',
    cwd: root,
    env: {
      ...process.env,
      PATH: `${resolve(process.execPath, '..')}:${process.env.PATH}`,
      // as ./zos has it: some two hundred processes would each strip the same types
      NODE_COMPILE_CACHE: join(own, '.cache/compiled'),
    },
  })
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  if (status !== 0) {
    console.error(`ok: ${name} failed after ${seconds} s`)
    process.exit(1)
  }
  console.log(`ok: ${name} (${seconds} s)`)
}
