// What `npm run bench` says: the quickest of the benchmarks is run, the others are only named.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '..')

function bench(...args: string[]) {
  const words = ['--disable-warning=ExperimentalWarning', join(root, 'bench/index.ts'), ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, words, {
    encoding: 'utf8',
    cwd: root,
    timeout: 120_000,
  })
  return { status, stdout, stderr }
}

test('without a name they are listed, each with what it claims', () => {
  const { status, stdout } = bench()
  assert.equal(status, 0)
  const listed = new Map(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => [line.split(' ', 1)[0]!, line.slice(19)]),
  )
  for (const name of ['run-true', 'start', 'idle-memory', 'stored-bytes', 'publish', 'nbd-random', 'nbd-sequential'])
    assert.ok((listed.get(name) ?? '').length > 10, name)
})

test('--json is one line of the fields that are promised', () => {
  const { status, stdout, stderr } = bench('placement', '--json')
  assert.equal(status, 0, stderr)
  const row = JSON.parse(stdout) as Record<string, unknown>
  assert.deepEqual([row.name, row.unit, row.better], ['placement', 'ms', 'lower'])
  for (const field of ['ours', 'peer', 'ratio']) assert.ok(Number.isFinite(row[field]) && Number(row[field]) > 0, field)
  assert.ok(Math.abs(Number(row.ratio) - Number(row.ours) / Number(row.peer)) < 1e-9)
  assert.match(String(row.commit), /^[0-9a-f]{7,}$/)
  assert.equal((row.versions as Record<string, string>).node, process.version)
})

test('what it does not know is one clear error, before anything is measured', () => {
  for (const [args, says] of [
    [['--jsom', 'placement'], /^bench: "--jsom" is not understood; there is --json\n$/],
    [['-j'], /^bench: "-j" is not understood/],
    [['placement', 'plaecment'], /^bench: no benchmark "plaecment"; there are: .*placement.*\n$/],
  ] as const) {
    const { status, stdout, stderr } = bench(...args)
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, says)
  }
})
