// What is too long for a commit: every test file at its full size, then every benchmark; what came of it goes to docs/nightly.md.
// usage: npm run nightly [-- WORD...]     WORDs: only test files whose path has one of them, no benchmarks; their rows are replaced
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const page = join(root, 'docs/nightly.md')
const flags = ['--disable-warning=ExperimentalWarning']
const env = { ...process.env, ZOS_NIGHTLY: '1', ZOS_FUZZ: '120000' }
const words = process.argv.slice(2)
const all = globSync('{src,tools,guest,test}/**/*.test.ts', { cwd: root }).sort()
const files = all.filter((f) => words.length === 0 || words.some((word) => f.includes(word)))
if (files.length === 0) {
  console.error(`nightly: no test file has ${words.map((w) => `"${w}"`).join(' or ')} in its path`)
  process.exit(2)
}
const scratch = mkdtempSync(join(tmpdir(), 'zos-nightly-'))

const git = (...args: string[]) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.trim()

/** The commit the tree is at; the pages that a run writes may have changed, nothing else. */
const commit = `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '--', ':!docs/nightly.md', ':!docs/workloads.md') ? ', with changes' : ''}`

/** What came of one file, as a row of the page: | what | passed | failed | skipped | seconds | load | day | commit |. */
type Row = { what: string; bad: boolean; text: string }
const row = (what: string, bad: boolean, ...cells: (string | number)[]): Row => {
  const tail = [loadavg()[1]!.toFixed(0), new Date().toISOString().slice(0, 10), commit]
  return { what, bad, text: `| ${[what, ...cells, ...tail].join(' | ')} |` }
}

/** One file in a process of its own, so that a crash or a leak of one says nothing of the others. */
function testFile(file: string): Row {
  const tap = join(scratch, 'tap')
  const reporters = ['spec', 'stdout', 'tap', tap].map((v, n) => `--test-reporter${n % 2 ? '-destination' : ''}=${v}`)
  rmSync(tap, { force: true })
  const begun = performance.now()
  const args = [...flags, '--test', '--test-timeout=3600000', ...reporters, file]
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: root, env })
  const said = existsSync(tap) ? readFileSync(tap, 'utf8') : ''
  const count = (name: string) => Number(said.match(new RegExp(`^# ${name} (\\d+)$`, 'm'))?.[1] ?? 0)
  const seconds = ((performance.now() - begun) / 1000).toFixed(0)
  const failed = count('fail') || (status ? `exit ${status}` : 0)
  return row(file, status !== 0, count('pass'), failed, count('skipped'), seconds)
}

function benchmarks(): Row {
  const begun = performance.now()
  const args = [...flags, join(root, 'bench/index.ts'), 'all']
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: root, env })
  const seconds = ((performance.now() - begun) / 1000).toFixed(0)
  return row('benchmarks', status !== 0, '', status ? `exit ${status}` : 0, '', seconds)
}

/** Rewritten after each file, rows of earlier runs kept: a run that is cut short says how far it came. */
function report(results: Row[]): void {
  const rows = new Map<string, string>()
  const before = existsSync(page) ? readFileSync(page, 'utf8') : ''
  for (const [text, what] of before.matchAll(/^\| (\S+) \|.*\|$/gm)) rows.set(what!, text)
  for (const { what, text } of results) rows.set(what, text)
  const kept = [...all, 'benchmarks'].filter((what) => rows.has(what))
  const text = [
    '# The last nightly runs',
    '',
    'Written by `npm run nightly`; a run of some files (`npm run nightly -- WORD...`) replaces their rows. ZOS_NIGHTLY=1, so each test at',
    `its full size, and ZOS_FUZZ=${env.ZOS_FUZZ} executions of each decoder. ${availableParallelism()} cores. ${kept.filter((w) => w !== 'benchmarks').length} of ${all.length} test files have a row.`,
    '',
    '| test file | passed | failed | skipped | seconds | load | day | commit |',
    '| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |',
    ...kept.map((what) => rows.get(what)!),
    '',
  ].join('\n')
  writeFileSync(page, text)
}

const results: Row[] = []
for (const file of files) {
  results.push(testFile(file))
  report(results)
}
rmSync(scratch, { recursive: true })
if (words.length === 0) {
  results.push(benchmarks())
  report(results)
}
const bad = results.filter((r) => r.bad)
for (const { text } of bad) console.log(`nightly: not passed: ${text}`)
console.log(`nightly: ${results.length} rows, ${bad.length} not passed`)
process.exitCode = bad.length === 0 ? 0 : 1
