// What is too long for a commit: every test at its full size, then every benchmark. usage: npm run nightly
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const flags = ['--disable-warning=ExperimentalWarning']
const env = { ...process.env, ZOS_NIGHTLY: '1', ZOS_FUZZ: '120000' }
const tests = globSync('{src,tools,guest,test}/**/*.test.ts', { cwd: root }).sort()

const run = (what: string, args: string[]): boolean => {
  const { status } = spawnSync(process.execPath, [...flags, ...args], { stdio: 'inherit', cwd: root, env })
  console.log(`nightly: ${what}: ${status === 0 ? 'passed' : `exit ${status}`}`)
  return status === 0
}

const passed = run('tests', ['--test', '--test-concurrency=1', '--test-timeout=3600000', ...tests])
const measured = run('benchmarks', [join(root, 'bench/index.ts'), 'all'])
process.exitCode = passed && measured ? 0 : 1
