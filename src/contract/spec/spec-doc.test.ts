import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'node:test'
import { parseSpec } from './parse.ts'
import { specSchema, workloadSchema } from './schema.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
const doc = readFileSync(join(ROOT, 'docs/formats/spec.md'), 'utf8')

test('what docs and README show as a spec is one', () => {
  const shown = [...doc.matchAll(/```yaml\n(.*?)```/gs)].map((found) => found[1]!)
  assert.equal(shown.length, 2)
  const readme = /<<END.*?\n(.*?)\nEND\n/s.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1]
  for (const text of [...shown, readme ?? '']) assert.ok(parseSpec(text, 'docs').workloads.length > 0)
})

test('every field of a spec is in its doc', () => {
  const rows = doc
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|')[1]!)
  for (const schema of [specSchema, workloadSchema])
    for (const field of Object.keys(schema.shape))
      assert.ok(
        rows.some((row) => row.includes(`\`${field}\``)),
        field,
      )
})
