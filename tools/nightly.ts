// What is too long for a commit: every test file at its full size, then every benchmark; what came of it goes to docs/nightly.md.
// usage: npm run nightly [-- WORD]     WORD: only test files whose path has it; then nothing is written
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const flags = ['--disable-warning=ExperimentalWarning']
const env = { ...process.env, ZOS_NIGHTLY: '1', ZOS_FUZZ: '120000' }
const word = process.argv[2] ?? ''
const files = globSync('{src,tools,guest,test}/**/*.test.ts', { cwd: root })
  .filter((f) => f.includes(word))
  .sort()
if (files.length === 0) {
  console.error(`nightly: no test file has "${word}" in its path`)
  process.exit(2)
}
const scratch = mkdtempSync(join(tmpdir(), 'zos-nightly-'))

type Result = { file: string; passed: number; failed: number; skipped: number; seconds: number; code: number | null }

/** One file in a process of its own, so that a crash or a leak of one says nothing of the others. */
function testFile(file: string): Result {
  const tap = join(scratch, 'tap')
  const reporters = ['spec', 'stdout', 'tap', tap].map((v, n) => `--test-reporter${n % 2 ? '-destination' : ''}=${v}`)
  rmSync(tap, { force: true })
  const begun = performance.now()
  const args = [...flags, '--test', '--test-timeout=3600000', ...reporters, file]
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: root, env })
  const said = existsSync(tap) ? readFileSync(tap, 'utf8') : ''
  const count = (name: string) => Number(said.match(new RegExp(`^# ${name} (\\d+)$`, 'm'))?.[1] ?? 0)
  const seconds = (performance.now() - begun) / 1000
  return { file, passed: count('pass'), failed: count('fail'), skipped: count('skipped'), seconds, code: status }
}

const git = (...args: string[]) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.trim()

const commit = `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') ? ', with changes' : ''}`

/** Rewritten after each file: a run that is cut short says how far it came. BENCHMARKS: their exit code. */
function report(results: Result[], benchmarks: number | null | 'not yet'): void {
  if (word) return
  const rows = results.map(
    (r) =>
      `| ${r.file} | ${r.passed} | ${r.failed || (r.code ? `exit ${r.code}` : 0)} | ${r.skipped} | ${r.seconds.toFixed(0)} |`,
  )
  const text = [
    '# The last nightly run',
    '',
    `Written by \`npm run nightly\`. Commit ${commit}, ${new Date().toISOString().slice(0, 16)} UTC, ${availableParallelism()} cores,`,
    `load ${loadavg()[2]!.toFixed(1)} at the end. ZOS_NIGHTLY=1, ZOS_FUZZ=${env.ZOS_FUZZ}. Benchmarks: ${benchmarks === 0 ? 'all ran' : benchmarks}.`,
    `${results.length} of ${files.length} test files ran.`,
    '',
    '| test file | passed | failed | skipped | seconds |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...rows,
    '',
  ].join('\n')
  writeFileSync(join(root, 'docs/nightly.md'), text)
}

const results: Result[] = []
for (const file of files) {
  results.push(testFile(file))
  report(results, 'not yet')
}
rmSync(scratch, { recursive: true })
const bench = [...flags, join(root, 'bench/index.ts'), 'all']
const measured = word ? 0 : spawnSync(process.execPath, bench, { stdio: 'inherit', cwd: root, env }).status
report(results, measured)
const bad = results.filter((r) => r.code !== 0)
for (const { file, failed, code } of bad) console.log(`nightly: ${file}: ${failed} failed, exit ${code}`)
console.log(`nightly: ${results.length} files, ${bad.length} not passed; benchmarks exit ${measured}`)
process.exitCode = bad.length === 0 && measured === 0 ? 0 : 1
