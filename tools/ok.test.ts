// Each step of the gate fails when its rule is broken, and names where: on a small tree, not on this one.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'

const own = resolve(import.meta.dirname, '..')

const GOOD = {
  'package.json': '{ "type": "module", "dependencies": { "zod": "4.6.7" } }\n',
  'DEPENDENCIES.md': '| `zod` | npm | says what comes in |\n',
  'src/codec/README.md': '# codec\n',
  'src/sys/README.md': '# sys\n',
  'src/codec/index.ts': 'export const one = 1\n',
  'src/sys/index.ts': "import { one } from '#codec'\n\nexport const two: number = one + 1\n",
  'src/sys/index.test.ts':
    "import assert from 'node:assert/strict'\nimport test from 'node:test'\n\ntest('one', () => assert.ok(true))\n",
  'test/slow.test.ts': "import { test } from 'node:test'\n\ntest('slow', () => {})\n",
}
const DOORS = { '#codec': './src/codec/index.ts', '#sys': './src/sys/index.ts' }

/** What the gate says of GOOD with CHANGES: the step that failed, '' for none, and its words. */
function gate(changes: Partial<Record<string, string>> = {}, ...args: string[]): { failed: string; said: string } {
  const dir = mkdtempSync(join(tmpdir(), 'zos-ok-'))
  try {
    for (const [path, text] of Object.entries({ ...GOOD, ...changes })) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      const whole = path === 'package.json' ? JSON.stringify({ ...JSON.parse(text!), imports: DOORS }, null, 2) : text!
      writeFileSync(join(dir, path), path === 'package.json' ? `${whole}\n` : whole)
    }
    for (const file of ['tsconfig.json', 'biome.json']) copyFileSync(join(own, file), join(dir, file))
    symlinkSync(join(own, 'node_modules'), join(dir, 'node_modules'))
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const words = ['--disable-warning=ExperimentalWarning', join(own, 'tools/ok.ts'), ...args, dir]
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { env, encoding: 'utf8', timeout: 120_000 })
    const failed = /^ok: (\w+) failed/m.exec(stderr)?.[1] ?? ''
    assert.equal(status, failed === '' ? 0 : 1, stdout + stderr)
    return { failed, said: stdout + stderr }
  } finally {
    rmSync(dir, { recursive: true })
  }
}

test('what breaks no rule passes every step', () => {
  const { failed, said } = gate()
  assert.equal(failed, '', said)
  for (const step of ['types', 'lint', 'boundaries', 'dependencies', 'docs', 'tests'])
    assert.match(said, new RegExp(`^ok: ${step} \\(`, 'm'))
  assert.match(said, /slow/)
  assert.doesNotMatch(gate({}, '--fast').said, /slow/)
})

const SECOND = 'export const two: number = 2\n'
const BROKEN: [step: string, rule: string, path: string, text: string, says: RegExp][] = [
  ['types', 'a wrong type', 'src/sys/index.ts', "export const two: number = 'two'\n", /index\.ts.*TS2322/s],
  ['types', 'syntax that Node cannot erase', 'src/sys/index.ts', 'export enum Two {\n  A,\n}\n', /TS1294/],
  ['lint', 'a format of its own', 'src/sys/index.ts', 'export const two: number = 2;\n', /Formatter would/],
  [
    'lint',
    'a warning',
    'src/sys/index.ts',
    `import { join } from 'path'\n\n${SECOND}export const three = join('a')\n`,
    /useNodejsImportProtocol/,
  ],
  [
    'boundaries',
    'an arrow upwards',
    'src/codec/index.ts',
    "import '#sys'\n\nexport const one = 1\n",
    /codec may not import #sys/,
  ],
  [
    'boundaries',
    'past the door',
    'src/sys/index.ts',
    `import '../codec/index.ts'\n\n${SECOND}`,
    /leaves sys: import the door/,
  ],
  [
    'boundaries',
    'an arrow taken at run time',
    'src/codec/index.ts',
    "export const one: number = (await import('#sys')).two\n",
    /may not import #sys/,
  ],
  [
    'boundaries',
    'C called elsewhere',
    'src/codec/index.ts',
    "import 'node:ffi'\n\nexport const one = 1\n",
    /node:ffi lives in/,
  ],
  [
    'boundaries',
    'HTTP as a module',
    'src/codec/index.ts',
    "import { request } from 'node:http'\n\nexport const one = request.length\n",
    /node:http imported as a module/,
  ],
  [
    'boundaries',
    'a domain nobody described',
    'src/wire/index.ts',
    'export const any = 1\n',
    /src\/wire: no README\.md/,
  ],
  ['boundaries', 'a domain nobody drew', 'src/utils/index.ts', 'export const any = 1\n', /"utils" has no entry/],
  [
    'dependencies',
    'a range',
    'package.json',
    '{ "type": "module", "dependencies": { "zod": "^4.6.7" } }',
    /zod: version "\^4\.6\.7" is not exact/,
  ],
  ['dependencies', 'no reason', 'DEPENDENCIES.md', '', /zod: no line in DEPENDENCIES\.md/],
  [
    'dependencies',
    'a reason for nothing',
    'DEPENDENCIES.md',
    `${GOOD['DEPENDENCIES.md']}| \`left\` | npm | pads |\n`,
    /left: listed .* not in package\.json/,
  ],
  ['docs', 'a link to nothing', 'docs/a.md', '[b](b.md)\n', /docs\/a\.md: the link to "b\.md" leads nowhere/],
  ['docs', 'a link to no heading', 'docs/a.md', '# A\n[b](../src/sys/README.md#b)\n', /README\.md has no such heading/],
  ['docs', 'a file that is gone', 'docs/a.md', 'See `src/codec/{index,gone}.ts`.\n', /names "src\/codec\/gone\.ts"/],
  ['docs', 'a file nobody described', 'src/sys/two.ts', SECOND, /src\/sys\/README\.md: does not name two\.ts/],
  ['tests', 'a failing test', 'src/sys/index.test.ts', GOOD['src/sys/index.test.ts'].replace('true', 'false'), /✖ one/],
]
for (const [step, rule, path, text, says] of BROKEN)
  test(`${step} fail for ${rule}`, () => {
    const { failed, said } = gate({ [path]: text }, '--fast')
    assert.deepEqual([failed, says.test(said)], [step, true], said)
  })
