import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { after } from 'node:test'
import { allPaths, loadManifest, openLibrary, publish, readRange, startClosure } from '#zosfs'
import { readElf } from './elf.ts'

const root = mkdtempSync(join(tmpdir(), 'zos-closure-'))
const library = openLibrary({ home: join(root, 'home') })
after(async () => {
  await library[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

/** What the real dynamic linker says BINARY loads. */
function ldd(binary: string): string[] {
  const { stdout, status } = spawnSync('ldd', [binary], { encoding: 'utf8' })
  if (status !== 0) return []
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!)
}

let count = 0
async function closureOf(tree: string, argv: string[], env: string[] = [], cwd = '/'): Promise<string[]> {
  const { digest } = await publish(library, `dir:${tree}`, `t${count++}`)
  const manifest = await loadManifest(library.store, digest)
  const read = (n: number, at: number, length: number) => readRange(library.store, manifest, n, at, length)
  const paths = allPaths(manifest)
  return (await startClosure(manifest, read, { argv, env, cwd })).map((n) => paths[n]!)
}

/** A tree with PATHS of this machine at the same places. */
function copied(paths: string[]): string {
  const tree = join(root, `tree-${count++}`)
  for (const path of paths) {
    mkdirSync(join(tree, dirname(path)), { recursive: true })
    copyFileSync(realpathSync(path), join(tree, path))
  }
  return tree
}

const bash = '/bin/bash'
const libraries = ldd(bash)
const glibc = libraries.length < 2 && 'no glibc bash on this machine'

test('the closure of a real program is what the dynamic linker loads, through a script and the PATH', {
  skip: glibc,
}, async () => {
  const tree = copied([bash, ...libraries])
  writeFileSync(join(tree, 'start.sh'), '#!/usr/bin/env  bash\necho\n', { mode: 0o755 })
  mkdirSync(join(tree, 'usr/bin'), { recursive: true })
  writeFileSync(join(tree, 'usr/bin/env'), 'stands for env', { mode: 0o755 })
  writeFileSync(join(tree, 'other'), 'not needed', { mode: 0o755 })
  const expected = ['/bin/bash', ...libraries].sort()
  assert.deepEqual((await closureOf(tree, ['bash'])).sort(), expected)
  assert.deepEqual(
    (await closureOf(tree, ['./start.sh', 'x y'])).sort(),
    [...expected, '/start.sh', '/usr/bin/env'].sort(),
  )
  assert.deepEqual(await closureOf(tree, ['bash'], ['PATH=/nowhere']), [])
  assert.deepEqual((await closureOf(tree, ['bash'], ['PATH=/nowhere::bin'], '/')).sort(), expected)
})

test('libraries are found by ld.so.conf, LD_LIBRARY_PATH and in the order of the linker', { skip: glibc }, async () => {
  const tree = copied([bash, ...libraries])
  const [moved] = libraries.filter((path) => !path.includes('ld-linux'))
  const name = moved!.split('/').at(-1)!
  mkdirSync(join(tree, 'opt/lib'), { recursive: true })
  mkdirSync(join(tree, 'etc/ld.so.conf.d'), { recursive: true })
  copyFileSync(join(tree, moved!), join(tree, 'opt/lib', name))
  assert.ok((await closureOf(tree, ['/bin/bash'], ['LD_LIBRARY_PATH=/opt/lib'])).includes(`/opt/lib/${name}`))
  assert.ok(!(await closureOf(tree, ['/bin/bash'])).includes(`/opt/lib/${name}`))
  rmSync(join(tree, moved!))
  writeFileSync(join(tree, 'etc/ld.so.conf'), '# comment\ninclude ld.so.conf.d/*.conf\n')
  writeFileSync(join(tree, 'etc/ld.so.conf.d/o.conf'), '/opt/lib\n')
  assert.ok((await closureOf(tree, ['/bin/bash'])).includes(`/opt/lib/${name}`))
})

const noCompiler = (compiler: string) =>
  spawnSync(compiler, ['--version']).status !== 0 && `${compiler} is not installed`

test('DT_RUNPATH with $ORIGIN, and libraries of libraries', { skip: noCompiler('cc') }, async () => {
  const tree = join(root, 'origin')
  mkdirSync(join(tree, 'app/lib'), { recursive: true })
  const compile = (source: string, ...args: string[]) =>
    execFileSync('cc', ['-x', 'c', '-', '-nostdlib', ...args], { input: source })
  compile('int two(void){return 2;}', '-shared', '-o', join(tree, 'app/lib/libtwo.so'))
  compile(
    'int two(void);int one(void){return two();}',
    '-shared',
    '-o',
    join(tree, 'app/lib/libone.so'),
    `-L${tree}/app/lib`,
    '-ltwo',
    '-Wl,-rpath,$ORIGIN',
  )
  compile(
    'int one(void);int _start(void){return one();}',
    '-o',
    join(tree, 'app/main'),
    `-L${tree}/app/lib`,
    '-lone',
    `-Wl,-rpath,$ORIGIN/lib,-rpath-link,${tree}/app/lib`,
  )
  symlinkSync('app/main', join(tree, 'run'))
  assert.deepEqual(await closureOf(tree, ['/run']), ['/app/lib/libone.so', '/app/lib/libtwo.so', '/app/main'])
})

test('musl: its linker is its C library', { skip: noCompiler('musl-gcc') }, async () => {
  const tree = join(root, 'musl')
  mkdirSync(join(tree, 'lib'), { recursive: true })
  execFileSync('musl-gcc', ['-x', 'c', '-', '-o', join(tree, 'main')], { input: 'int main(void){return 0;}' })
  const { interpreter } = (await readElf(async (at, n) => readFileSync(join(tree, 'main')).subarray(at, at + n)))!
  copyFileSync(interpreter!, join(tree, 'lib/libc.so'))
  symlinkSync('libc.so', join(tree, interpreter!))
  chmodSync(join(tree, 'lib/libc.so'), 0o755)
  assert.deepEqual(await closureOf(tree, ['/main']), ['/lib/libc.so', '/main'])
})

test('damaged ELF files are read as far as they make sense', async () => {
  const good = readFileSync(process.platform === 'linux' && glibc === false ? bash : process.execPath)
  let x = 5
  for (let n = 0; n < 100; n++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    const bad = Buffer.from(good.subarray(0, n % 3 === 0 ? x % 4096 : undefined))
    for (let k = 0; k < 4 && bad.length > 0; k++) bad[(x >>> (k * 5)) % Math.min(bad.length, 1024)] = x >>> k
    await readElf(async (at, length) => bad.subarray(at, at + length))
  }
})
