import assert from 'node:assert/strict'
import test from 'node:test'
import { type HelpAsked, onlyFlags, parseBytes, parseFlags } from './flags.ts'

const flags = {
  detach: { kind: 'switch', short: 'd', about: 'a' },
  interactive: { kind: 'switch', short: 'i', about: 'b' },
  env: { kind: 'list', short: 'e', about: 'c' },
  name: { kind: 'value', about: 'd' },
} as const

test('flags are read as Docker reads them: bundled, with =, several times, and none behind the image or "--"', () => {
  const { flags: f, rest } = parseFlags('run', ['-di', '-eA=1', '-e', 'B=2', '--name=x', 'img', '-d', '--'], flags, {
    stop: true,
  })
  assert.deepEqual(f, { detach: true, interactive: true, env: ['A=1', 'B=2'], name: 'x' })
  assert.deepEqual(rest, ['img', '-d', '--'])
  assert.deepEqual(parseFlags('rm', ['a', '-d', 'b', '--', '-e'], flags).rest, ['a', 'b', '-e'])
})

test('unknown flags and missing values name themselves', () => {
  assert.throws(() => parseFlags('run', ['--no-such'], flags), /unknown flag "--no-such"/)
  assert.throws(() => parseFlags('run', ['-x'], flags), /unknown flag "-x"/)
  assert.throws(() => parseFlags('run', ['--name'], flags), /needs a value/)
  assert.throws(() => parseFlags('run', ['--constructor'], flags), /unknown flag/)
  assert.throws(() => onlyFlags('ps', ['-d', 'word'], flags), {
    code: 'usage',
    message: /^zos ps: "word" is not understood/,
  })
})

test('--help lists every flag with what it means, but only before the program', () => {
  const asked = (args: string[]) => {
    try {
      return parseFlags('run', args, flags, { stop: true }).rest
    } catch (error) {
      return (error as HelpAsked).rows
    }
  }
  const rows = asked(['-d', '--help'])
  assert.match(String(rows), /-d, --detach +a\n.*--env VALUE +c \(may be given often\)\n +--name VALUE +d\n/s)
  assert.equal(asked(['-h']), rows)
  assert.deepEqual(asked(['img', '--help']), ['img', '--help'])
  assert.deepEqual(parseFlags('x', ['-h', 'a'], { host: { kind: 'value', short: 'h', about: '' } }).flags.host, 'a')
})

test('a size is a number with b, k, m, g or t behind it, in powers of 1024', () => {
  assert.equal(parseBytes('64m', 'memory'), 64 << 20)
  assert.equal(parseBytes('1.5g', 'memory'), 1.5 * 2 ** 30)
  assert.equal(parseBytes('512', 'memory'), 512)
  for (const bad of ['lots', '', '-1', '0', '1e9', '9'.repeat(30)])
    assert.throws(() => parseBytes(bad, 'memory'), /not a size/)
})
