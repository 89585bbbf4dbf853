// What set-up does about missing packages, with a dpkg-query and an apt-get that only say what they were asked.
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { ensurePackages, missingPackages } from './packages.ts'

const dir = mkdtempSync(join(tmpdir(), 'zos-packages-'))
const { PATH, CI } = process.env
const { getuid } = process
after(() => {
  Object.assign(process.env, { PATH, ...(CI === undefined ? {} : { CI }) })
  process.getuid = getuid!
  rmSync(dir, { recursive: true, force: true })
})
const asked = join(dir, 'asked')
const calls = () => (existsSync(asked) ? readFileSync(asked, 'utf8').trim().split('\n') : [])

const program = (name: string, script: string) => {
  writeFileSync(join(dir, name), `#!/bin/sh\n${script}\n`)
  chmodSync(join(dir, name), 0o755)
}
beforeEach(() => {
  process.env.PATH = `${dir}:${PATH}`
  delete process.env.CI
  process.getuid = () => 0
  for (const file of ['asked', 'failed']) rmSync(join(dir, file), { force: true })
  program(
    'apt-get',
    `echo "$*" >> ${asked}; case "$*" in *assume-no*) echo 'Need to get 3 MB of archives.'; exit 1;; esac`,
  )
  program('dpkg-query', 'shift 3; for p; do case $p in skopeo|passt) ;; *) echo "$p installed";; esac; done; exit 1')
})
const REST = '--no-install-recommends skopeo passt'

test('with all installed apt is not asked', async () => {
  program('dpkg-query', 'shift 3; for p; do echo "$p installed"; done')
  await ensurePackages(['run'], { yes: false, say: () => assert.fail() })
  assert.deepEqual(calls(), [])
})

test('what is missing is listed with its reason and size, then installed: nothing else', async () => {
  assert.deepEqual(
    (await missingPackages(['run', 'test'])).map((n) => n.package),
    ['skopeo', 'passt'],
  )
  const said: string[] = []
  await ensurePackages(['run'], { yes: true, say: (line) => said.push(line) })
  assert.match(
    said.join('\n'),
    /^Debian packages to install:\n {2}skopeo +reads images .*\n {2}passt .*\n {2}Need to get 3 MB/,
  )
  assert.deepEqual(calls(), [
    `install --assume-no ${REST}`,
    `install -y --no-install-recommends -o Dpkg::Use-Pty=0 skopeo passt`,
  ])
})

test('lists older than the archive are fetched anew, once', async () => {
  program(
    'apt-get',
    `echo "$*" >> ${asked}; case "$*" in *assume-no*) echo 'Need to get 3 MB.';; *-y*) [ -e ${dir}/failed ] || { touch ${dir}/failed; echo 'E: 404' >&2; exit 100; };; esac`,
  )
  await ensurePackages(['run'], { yes: true, say: () => {} })
  assert.deepEqual(
    calls().map((line) => line.split(' ')[0]),
    ['install', 'install', 'update', 'install'],
  )
})

test('who is not root is told the one line to run', async () => {
  process.getuid = () => 1000
  await assert.rejects(ensurePackages(['run'], { yes: true, say: () => {} }), {
    code: 'packages-missing',
    message: `Set up: Debian packages are missing; run: sudo apt-get install -y ${REST}`,
  })
  assert.deepEqual(calls(), [])
})
