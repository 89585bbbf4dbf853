import assert from 'node:assert/strict'
import test from 'node:test'
import { formatter, listFormatter } from './format.ts'

const value = {
  Name: '/web',
  State: { ExitCode: 0, Running: false },
  Config: { Env: ['A=1', 'B=2'], Labels: { 'org.x': 'y', b: '2' } },
  None: null,
}

test('paths, json and index as Go prints them', () => {
  const shown = (text: string) => formatter(text)(value)
  assert.equal(shown('{{.Name}} {{ .State.ExitCode }}\\t{{- .State.Running -}}\\n'), '/web 0\tfalse\n')
  assert.equal(shown('{{.Config.Env}} {{.Config.Labels}} {{.None}}'), '[A=1 B=2] map[b:2 org.x:y] <no value>')
  assert.equal(shown('{{json .Config.Env}}'), '["A=1","B=2"]')
  assert.equal(shown('{{index .Config.Labels "org.x"}}|{{index .Config.Labels "no"}}'), 'y|')
  assert.equal(shown('{{json .}}'), JSON.stringify(value))
  assert.equal(shown('json'), JSON.stringify(value))
  assert.equal(shown('no action'), 'no action')
})

test('what is not understood or not there is refused', () => {
  for (const text of [
    '{{range .X}}',
    '{{.A',
    '{{}}',
    '{{.Name "x"}}',
    '{{index .Config.Labels}}',
    '{{printf "%s" .A}}',
  ])
    assert.throws(() => formatter(text), { code: 'bad-format' }, text)
  for (const text of ['{{.Nmae}}', '{{.State.Exit}}', '{{.constructor}}', '{{.Name.length}}', '{{.State.__proto__}}'])
    assert.throws(() => formatter(text)(value), { code: 'bad-format' }, text)
})

test('table gives a heading, and columns where tabs are; without it there is neither', () => {
  const rows = [
    { ID: '1', CreatedAt: 'now', Names: 'a-long-name' },
    { ID: '22', CreatedAt: 'then', Names: 'b' },
  ]
  assert.equal(
    listFormatter('table {{.Names}}\\t{{.CreatedAt}}\\t{{json .ID}}')(rows),
    'NAMES         CREATED AT   ID\na-long-name   now          "1"\nb             then         "22"\n',
  )
  assert.equal(listFormatter('table {{.ID}}: {{.Names}}')([]), 'ID: NAMES\n')
  assert.equal(listFormatter('{{.ID}}\\t{{.Names}}')(rows), '1\ta-long-name\n22\tb\n')
  assert.throws(() => listFormatter('table {{.ID'), { code: 'bad-format' })
})
