import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { programParts } from './ffi-trim.ts'

const mapping = (head: string, anonymous: number) =>
  `${head}\nSize:                100 kB\nAnonymous:       ${anonymous} kB\nVmFlags: rd mr mw me sd`
const NODE = '/opt/node bin/node'

test('what is dropped of a program was never written to: no data, no relocated part, no other file', () => {
  const smaps = [
    mapping(`00400000-0082e000 r--p 00000000 08:01 42                         ${NODE}`, 0),
    mapping(`0082e000-03489000 r-xp 0042e000 08:01 42                         ${NODE}`, 0),
    mapping(`072a7000-072dc000 r--p 06ea7000 08:01 42                         ${NODE}`, 212),
    mapping(`072dc000-07308000 rw-p 06edc000 08:01 42                         ${NODE}`, 0),
    mapping('7f0000000000-7f0000001000 r-xp 00000000 08:01 43                 /lib/libc.so.6', 0),
    mapping('7f0000001000-7f0000002000 r--p 00000000 00:00 0', 0),
  ].join('\n')
  assert.deepEqual(programParts(`${smaps}\n`, NODE), [
    { start: 0x400000, length: 0x42e000 },
    { start: 0x82e000, length: 0x2c5b000 },
  ])
})

test('a process that has let go of what it started with maps less of Node, and runs on', () => {
  const program = [
    `import { trimMemory } from ${JSON.stringify(join(import.meta.dirname, 'memory.ts'))}`,
    "import { readFileSync } from 'node:fs'",
    "const file = () => Number(/RssFile:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))[1])",
    'const before = file()',
    'trimMemory()',
    'const after = file()',
    "const text = [3, 1, 2].sort().map((n) => 'é'.normalize('NFD') + n).join()",
    "await import('node:http')",
    'console.log(JSON.stringify({ before, after, text }))',
  ].join('\n')
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program]
  const said = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.equal(said.status, 0, said.stderr)
  const { before, after, text } = JSON.parse(said.stdout)
  assert.ok(after < before - 10_000, `${before} kB of files before, ${after} after`)
  assert.equal(text, 'e\u03011,e\u03012,e\u03013')
})

test('several threads may collect at once', () => {
  const program = [
    `import { collectGarbage } from ${JSON.stringify(join(import.meta.dirname, 'memory.ts'))}`,
    "import { isMainThread, Worker } from 'node:worker_threads'",
    'if (isMainThread) for (let n = 0; n < 3; n++) new Worker(new URL(import.meta.url))',
    'for (let n = 0; n < 40; n++) collectGarbage()',
  ].join('\n')
  const dir = mkdtempSync(join(tmpdir(), 'zos-collect-'))
  try {
    writeFileSync(join(dir, 'program.mjs'), program)
    const args = ['--disable-warning=ExperimentalWarning', join(dir, 'program.mjs')]
    const said = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.equal(said.status, 0, said.stderr)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('collecting may keep what is compiled, though it has not run of late', () => {
  const program = [
    `import { collectGarbage } from ${JSON.stringify(join(import.meta.dirname, 'memory.ts'))}`,
    "import { getHeapCodeStatistics } from 'node:v8'",
    'const compiled = () => getHeapCodeStatistics().bytecode_and_metadata_size',
    "const made = Array.from({ length: 500 }, (_, n) => new Function('x', Array(100).fill('x * ' + n).join(' + ')))",
    'for (const one of made) one(1)',
    'const before = compiled()',
    'collectGarbage({ keepsCode: true })',
    'const kept = compiled()',
    'for (let i = 0; i < 3; i++) collectGarbage()',
    'console.log(JSON.stringify({ before, kept, left: compiled(), functions: made.length }))',
  ].join('\n')
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program]
  const said = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.equal(said.status, 0, said.stderr)
  const { before, kept, left } = JSON.parse(said.stdout)
  assert.ok(kept > before * 0.8, `${before} bytes of code before, ${kept} after`)
  assert.ok(left < kept / 2, `${left} bytes of code when none is kept`)
})
