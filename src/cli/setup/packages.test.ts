// What set-up does about missing packages, with a dpkg-query and an apt-get that only say what they were asked.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { ensurePackages, ensurePackagesOnce, missingPackages } from './packages.ts'

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

const hasScript = spawnSync('script', ['--version']).status === 0

/** The set-up of packages on a terminal where REPLY is typed once it asks: what it showed, its exit code. */
async function onTerminal(reply: string): Promise<{ shown: string; code: number | null }> {
  const inside = join(dir, 'inside.ts')
  writeFileSync(
    inside,
    `import { ensurePackages } from '${join(import.meta.dirname, 'packages.ts')}'
     process.getuid = () => 0
     try {
       await ensurePackages(['run'], { yes: false, say: (line) => console.log(line) })
     } catch (error) {
       console.log(error.message)
       process.exitCode = 1
     }`,
  )
  const child = spawn(
    'script',
    ['-qec', `${process.execPath} --disable-warning=ExperimentalWarning ${inside}`, '/dev/null'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: 60_000,
    },
  )
  let shown = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
    // its input stays open: at an end of it "script" types a sign of its own, which may be echoed last
    if (reply !== '' && shown.includes('[Y/n]')) child.stdin.write(reply)
    if (shown.includes('[Y/n]')) reply = ''
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { shown: stripVTControlCharacters(shown).replaceAll('\r', ''), code }
}

test('on a terminal it asks, after it listed what and how much; who says no has nothing changed', {
  skip: !hasScript && 'needs script',
}, async () => {
  const LIST =
    /Debian packages to install:\n {2}skopeo .*\n {2}passt .*\n {2}Need to get 3 MB.*\nInstall them now\? \[Y\/n\]/
  for (const no of ['n\n', 'nope\n', '\x04', '\x03']) {
    const { shown, code } = await onTerminal(no)
    assert.match(shown, LIST)
    assert.match(shown, new RegExp(`\nSet up: Debian packages are missing; run: apt-get install -y ${REST}\n$`))
    assert.equal(code, 1, JSON.stringify(no))
    assert.deepEqual(
      calls(),
      [`install --assume-no ${REST}`],
      `after ${JSON.stringify(no)} nothing but the size is asked of apt`,
    )
    rmSync(asked)
  }
  for (const yes of ['\n', 'y\n', 'Yes\n']) {
    const { shown, code } = await onTerminal(yes)
    assert.match(shown, LIST)
    assert.equal(code, 0)
    assert.match(calls()[1]!, /^install -y .* skopeo passt$/)
    rmSync(asked)
  }
})

test("what dpkg said is kept until its database changes, or is another machine's", async () => {
  const [kept, database] = [join(dir, 'kept'), join(dir, 'status')]
  program('dpkg-query', `echo query >> ${asked}; shift 3; for p; do echo "$p installed"; done`)
  const setUp = async () => {
    await ensurePackagesOnce(kept, ['run'], { yes: false, say: () => assert.fail() }, database)
    return calls().length
  }
  writeFileSync(database, '')
  assert.deepEqual([await setUp(), await setUp()], [1, 1])
  // dpkg writes another file in its place
  writeFileSync(`${database}-new`, '')
  renameSync(`${database}-new`, database)
  assert.deepEqual([await setUp(), await setUp()], [2, 2])
})
