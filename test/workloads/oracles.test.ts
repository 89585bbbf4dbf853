// Every fixture image, of real programs and of odd kinds, held against the tools of others: fsck.erofs, the kernel, veritysetup, fsverity, nbdcopy, qemu-img.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { run } from '#sys'
import {
  chunkCache,
  type Disk,
  dumpDisk,
  loadManifest,
  type Manifest,
  openDisk,
  openLibrary,
  pathOf,
  publish,
  serveNbd,
} from '#zosfs'
import { debianImage } from '../../src/cli/demo/debian.ts'
import { NGINX } from '../../src/cli/demo/image.ts'
import { type Seen, walk } from '../../src/zosfs/disk/fixture-walk.ts'
import { busyboxTree, ROOT } from '../harness.ts'
import { CADDY, JAVA, KERNEL, NODEJS, POSTGRES, PYTHON, REDIS, SYSTEMD } from './recipes.ts'
import { type Row, writeReport } from './report.ts'
import { compileProbe, imageOf, installMusl, manyFiles, manyLayers, oddTree } from './trees.ts'

const skip = !process.env.ZOS_NIGHTLY
  ? 'minutes long: npm run nightly'
  : process.getuid?.() === 0
    ? false
    : 'NOT RUN: mounting needs root'

/** What must be the same; sizes and link counts of directories and inode numbers are a file system's own. */
function facts(seen: readonly Seen[]): Map<string, Omit<Seen, 'ino'> & { first: string }> {
  const firsts = new Map<number, string>()
  const byPath = seen.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  return new Map(
    byPath.map(({ ino, ...rest }) => {
      const directory = (rest.mode & 0o170000) === 0o040000
      if (!firsts.has(ino)) firsts.set(ino, rest.path)
      const own = directory ? { size: 0, nlink: 0 } : {}
      return [rest.path, { ...rest, ...own, first: directory ? rest.path : firsts.get(ino)! }]
    }),
  )
}

/** Gives LOOK the image's tree as others have it: one layer as GNU tar unpacks it, several as podman puts them together. */
async function unpacked(
  image: string,
  work: string,
  look: (tree: string, ofPodman: boolean) => Promise<void>,
): Promise<void> {
  const blob = (digest: string) => join(image, 'blobs', digest.replace(':', '/'))
  const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
  const manifest = read(blob(read(join(image, 'index.json')).manifests[0].digest)) as { layers: { digest: string }[] }
  const tree = join(work, 'tree')
  if (manifest.layers.length === 1) {
    mkdirSync(tree)
    const flags = ['--numeric-owner', '--same-owner', '-p', '--xattrs', '--xattrs-include=*']
    await run('tar', [...flags, '-xzf', blob(manifest.layers[0]!.digest), '-C', tree], { timeout: 300_000 })
    return look(tree, false)
  }
  const places = { root: join(work, 'podman'), runroot: join(work, 'podman-run') }
  const name = 'localhost/it:1'
  await run(
    'skopeo',
    ['copy', '-q', `oci:${image}:1`, `containers-storage:[vfs@${places.root}+${places.runroot}]${name}`],
    { timeout: 900_000 },
  )
  const podman = async (...args: string[]) => {
    const where = ['--root', places.root, '--runroot', places.runroot, '--storage-driver', 'vfs']
    return String((await run('podman', [...where, ...args], { timeout: 300_000 })).stdout).trim()
  }
  try {
    await look(await podman('image', 'mount', name), true)
  } finally {
    await podman('image', 'umount', name)
  }
}

/** SAMPLE regular files, evenly over the tree. */
async function fingerprintsHold(manifest: Manifest, root: string, sample: number): Promise<void> {
  // a name that is no text cannot be an argument of a program here; its content was compared
  const isText = ({ name }: { name: Buffer }) => Buffer.from(name.toString()).equals(name)
  const files = manifest.entries.flatMap((e, n) =>
    e.type === 'file' && e.size > 0 && isText(e) ? [{ entry: e, n }] : [],
  )
  for (let i = 0; i < sample; i++) {
    const { entry, n } = files[Math.floor((i * files.length) / sample)]!
    const path = join(root, pathOf(manifest.entries, n).toString())
    const { stdout } = await run('fsverity', ['digest', '--compact', path])
    assert.equal(stdout.toString().trim(), entry.fingerprint?.toString('hex'), path)
  }
}

async function nbdHolds(disk: Disk, image: string, work: string): Promise<void> {
  const socket = join(work, 'nbd')
  await using server = await serveNbd({ name: 'x', socket, size: statSync(image).size })
  server.bind(disk)
  const uri = `nbd+unix:///x?socket=${socket}`
  await run('nbdinfo', [uri])
  await run('nbdcopy', [uri, join(work, 'copy')], { timeout: 300_000 })
  await run('cmp', [image, join(work, 'copy')], { timeout: 300_000 })
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, uri], { timeout: 300_000 })
}

const rows: Row[] = []
after(() => {
  if (rows.length > 0) writeReport(rows)
})

/** The OCI layout of an image, made anew below WORK or kept in the cache. */
type Make = (work: string, t: TestContext) => Promise<string>

const recipes = [NGINX, CADDY, REDIS, POSTGRES, PYTHON, NODEJS, JAVA, SYSTEMD, KERNEL]
const debian = recipes.map((recipe): [string, Make] => [
  recipe.name,
  (_, t) => debianImage(join(ROOT, '.cache'), recipe, (line) => t.diagnostic(line)),
])
const made = async (work: string, dirs: string[]) =>
  (await imageOf(work, dirs, { Cmd: ['sh'] })).replace(/^oci:(.*):1$/, '$1')
const dynamic = (work: string, usr: string) => {
  compileProbe(join(work, 'root', usr, 'bin/probe'), 'dynamic')
  installMusl(join(work, 'root', usr, 'lib'))
  if (usr) for (const name of ['bin', 'lib']) spawnSync('ln', ['-s', `usr/${name}`, join(work, 'root', name)])
  return made(work, [join(work, 'root')])
}
const odd: [string, Make][] = [
  ['127-layers', (work) => made(work, [busyboxTree(join(work, 'box')), ...manyLayers(work, 126)])],
  ['odd-files', (work) => made(work, [oddTree(join(work, 'odd'))])],
  ['60000-files', (work) => made(work, [busyboxTree(join(work, 'box')), manyFiles(join(work, 'many'))])],
  ['musl', (work) => dynamic(work, '')],
  ['merged-usr', (work) => dynamic(work, 'usr')],
]

const SHOWN = 'its disk is the image: fsck.erofs, a mount compared whole, veritysetup, fsverity, nbdcopy, qemu-img'

for (const [name, make] of [...debian, ...odd]) {
  const lacks =
    /^(127-layers|60000-files)$/.test(name) &&
    spawnSync('podman', ['--version']).status !== 0 &&
    'NOT RUN: needs podman'
  test(`${name}: the disk is the image, and every tool says so`, {
    skip: skip || lacks,
    timeout: 1_800_000,
  }, async (t) => {
    const work = mkdtempSync(join(tmpdir(), 'zos-oracle-'))
    const begun = performance.now()
    let held = false
    try {
      const image = await make(work, t)
      await diskIsImage(image, work)
      held = true
    } finally {
      rows.push({ workload: name, shown: SHOWN, held, seconds: (performance.now() - begun) / 1000 })
      rmSync(work, { recursive: true, force: true })
    }
  })
}

async function diskIsImage(image: string, work: string): Promise<void> {
  await using library = openLibrary({ home: join(work, 'home') })
  const { digest, root, files } = await publish(library, `oci:${image}:1`, 'it')
  const manifest = await loadManifest(library.store, digest, { fingerprints: true })
  const disk = openDisk(manifest, chunkCache(library.store, 64 << 20))
  const path = join(work, 'disk')
  await dumpDisk(disk, path)
  const { stderr } = await run('fsck.erofs', ['-d3', '--extract', path], { timeout: 300_000 })
  assert.match(stderr, /No errors found/)
  const { dataBlocks } = manifest.disk
  const offsets = [`--data-blocks=${dataBlocks}`, `--hash-offset=${dataBlocks * 4096}`]
  await run('veritysetup', ['verify', '--no-superblock', '--salt=-', ...offsets, path, path, root])
  await nbdHolds(disk, path, work)
  mkdirSync(join(work, 'mount'))
  await run('mount', ['-t', 'erofs', '-o', 'loop,ro', path, join(work, 'mount')])
  try {
    const seen = facts(await walk(join(work, 'mount')))
    assert.equal(seen.size, files)
    await unpacked(image, work, async (tree, ofPodman) => {
      const wanted = facts(await walk(tree))
      // podman's storage gives the root directory a time of its own
      if (ofPodman) wanted.set('', { ...wanted.get('')!, mtime: seen.get('')!.mtime })
      assert.deepEqual([...seen.keys()].sort(), [...wanted.keys()].sort())
      for (const [name, want] of wanted) assert.deepEqual(seen.get(name), want, Buffer.from(name, 'hex').toString())
    })
    await fingerprintsHold(manifest, join(work, 'mount'), 200)
  } finally {
    await run('umount', [join(work, 'mount')])
  }
}
