// `npm start`, as somebody who has just cloned this: once to its end, and once until Ctrl-C. Its pieces: src/cli/demo.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { freePort } from '#sys'
import { processesWith, ROOT, until } from './harness.ts'

const SKIP = process.env.ZOS_NIGHTLY !== '1' && 'a grid of three nodes, twice; ZOS_NIGHTLY=1'
const work = mkdtempSync(join(tmpdir(), 'zos-start-'))
after(() => {
  spawnSync(join(ROOT, 'zos'), ['grid', 'down'], { env: { ...process.env, ZOS_HOME: join(work, 'demo') } })
  rmSync(work, { recursive: true, force: true })
})

const begin = (...words: string[]) => {
  const env = { ...process.env, ZOS_HOME: work }
  const child = spawn(words[0]!, words.slice(1), { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] })
  const said = { text: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.text += text))
  return { child, said, code: once(child, 'close').then(([code]) => code as number | null) }
}

test('it ends by itself when all of it held, and leaves nothing running', {
  skip: SKIP,
  timeout: 900_000,
}, async () => {
  const { said, code } = begin('npm', 'start', '--', '--once')
  assert.equal(await code, 0, said.text)
  for (const step of ['set up', 'image', 'publish', 'dedupe', 'agreed', 'pulled', 'running', 'first byte'])
    assert.match(said.text, new RegExp(`^${step} +\\d+\\.\\d\\d +\\d+\\.\\d\\d`, 'm'))
  assert.match(said.text, /^dedupe .* published again: 0 of \d+ chunks were new: 0 B stored$/m)
  assert.match(said.text, /^read by the node .* of it until the page came \(\d+\.\d %\)$/m)
  const [, files = ''] = /^checked +(\d+) files of the start, [\d.]+ \w+, before nginx ran/m.exec(said.text) ?? []
  assert.ok(Number(files) > 5, `nginx, its linker and its libraries: ${files}`)
  assert.match(said.text, /^memory +[\d.]+ MiB of this machine for a 128 MiB workload$/m)
  assert.match(said.text, /\nall of it held\n$/)
  assert.deepEqual(processesWith(work), [])
})

test('otherwise it stays up, says what to try, and ends cleanly at Ctrl-C', {
  skip: SKIP,
  timeout: 900_000,
}, async () => {
  const port = await freePort()
  // as npm runs it: npm itself ends by the signal
  const { child, said, code } = begin('./zos', 'start', '--port', String(port))
  await until('the page', 600, () => said.text.includes('Ctrl-C') || child.exitCode !== null)
  const answer = await fetch(`http://127.0.0.1:${port}/`)
  assert.match(await answer.text(), /Hello from nginx in a microVM of its own/)
  assert.match(said.text, /export ZOS_HOME=\S+ ZOS_PASSPHRASE=/)
  child.kill('SIGINT')
  assert.equal(await code, 0)
  await assert.rejects(fetch(`http://127.0.0.1:${port}/`))
  await until('the end of all it started', 30, () => processesWith(work).length === 0)
  assert.ok(existsSync(join(work, 'demo')) && !readdirSync(join(work, 'demo')).includes('run'))
})
