// Every image of real programs, held against the tools of others: fsck.erofs, the kernel, veritysetup, fsverity, nbdcopy, qemu-img.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
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
import { ROOT } from '../harness.ts'
import { CADDY, JAVA, KERNEL, NODEJS, POSTGRES, PYTHON, REDIS, SYSTEMD } from './recipes.ts'

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

/** The layers as GNU tar unpacks them. */
async function unpack(image: string, to: string): Promise<void> {
  const blob = (digest: string) => join(image, 'blobs', digest.replace(':', '/'))
  const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
  const manifest = read(blob(read(join(image, 'index.json')).manifests[0].digest)) as { layers: { digest: string }[] }
  mkdirSync(to)
  for (const { digest } of manifest.layers) {
    const flags = ['--numeric-owner', '--same-owner', '-p', '--xattrs', '--xattrs-include=*']
    await run('tar', [...flags, '-xzf', blob(digest), '-C', to], { timeout: 300_000 })
  }
}

/** SAMPLE regular files, evenly over the tree. */
async function fingerprintsHold(manifest: Manifest, root: string, sample: number): Promise<void> {
  const files = manifest.entries.flatMap((e, n) => (e.type === 'file' && e.size > 0 ? [{ entry: e, n }] : []))
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

for (const recipe of [NGINX, CADDY, REDIS, POSTGRES, PYTHON, NODEJS, JAVA, SYSTEMD, KERNEL]) {
  test(`${recipe.name}: the disk is the image, and every tool says so`, { skip, timeout: 1_800_000 }, async (t) => {
    const image = await debianImage(join(ROOT, '.cache'), recipe, (line) => t.diagnostic(line))
    const work = mkdtempSync(join(tmpdir(), 'zos-oracle-'))
    try {
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

      await unpack(image, join(work, 'tree'))
      const wanted = facts(await walk(join(work, 'tree')))
      mkdirSync(join(work, 'mount'))
      await run('mount', ['-t', 'erofs', '-o', 'loop,ro', path, join(work, 'mount')])
      try {
        const seen = facts(await walk(join(work, 'mount')))
        assert.equal(seen.size, files)
        assert.deepEqual([...seen.keys()].sort(), [...wanted.keys()].sort())
        for (const [name, want] of wanted) assert.deepEqual(seen.get(name), want)
        await fingerprintsHold(manifest, join(work, 'mount'), 200)
      } finally {
        await run('umount', [join(work, 'mount')])
      }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
  })
}
