import { readFile, rename } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { codeOf } from '#codec'
import { byContent, run, withScratch, writeAtomic } from '#sys'
import { moduleIndex } from './module-index.ts'

/** All modules of the guest kernel as a disk that every VM has, read-only. */
export type ModulesDisk = {
  path: string
  /** For dm-verity: blocks of 4096 bytes, and the root's SHA-256 in hex. */
  dataBlocks: number
  hashStart: number
  rootHash: string
}

/**
 * Makes cacheDir/modules/KEY/disk from `lib/modules/RELEASE` of the kernel's package, about 10 s, once: unpacked, with
 * depmod's indexes and zinit's own, as a ZOS FS disk. The root's only entry is the folder RELEASE.
 */
export async function ensureModulesDisk(options: {
  cacheDir: string
  modulesRoot: string
  onProgress?: (line: string) => void
}): Promise<ModulesDisk> {
  const dir = join(options.cacheDir, 'modules')
  const recipe = [import.meta.filename, join(import.meta.dirname, 'module-index.ts')]
  // below the cache it is named by the package's digest: the same wherever the checkout is
  const source = relative(options.cacheDir, options.modulesRoot)
  const key = await byContent(dir, recipe, source, async (name) => {
    options.onProgress?.("guest kernel: making the modules' disk")
    await withScratch(join(dir, `${name}.${process.pid}.tmp`), async (scratch) => {
      const tree = await unpackModules(options.modulesRoot, scratch)
      await writeDisk(tree, scratch)
      await rename(join(scratch, 'out'), join(dir, name)).catch((error) => {
        // another process made the same
        if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error
      })
    })
  })
  const facts = JSON.parse(await readFile(join(dir, key, 'facts.json'), 'utf8')) as Omit<ModulesDisk, 'path'>
  return { path: join(dir, key, 'disk'), ...facts }
}

/** The folder with RELEASE in it, complete. */
async function unpackModules(modulesRoot: string, scratch: string): Promise<string> {
  const release = basename(modulesRoot)
  const tree = join(scratch, 'lib/modules')
  await run('mkdir', ['-p', tree, join(scratch, 'out')])
  await run('cp', ['-r', modulesRoot, tree])
  const packed = await run('find', [tree, '-name', '*.ko.xz', '-print0'])
  await run('xargs', ['-0', '-r', 'xz', '-d'], { input: packed.stdout, timeout: 120_000 })
  await run('/usr/sbin/depmod', ['-b', scratch, release])
  const at = join(tree, release)
  const text = async (name: string) => readFile(join(at, name), 'utf8')
  const index = moduleIndex(await text('modules.dep'), await text('modules.alias'))
  await writeAtomic(join(at, 'zinit.index'), index, { sync: false })
  // the same disk whenever and by whomever it is made
  await run('find', [tree, '-exec', 'touch', '-h', '-d', '@0', '{}', '+'])
  return tree
}

const CHUNKS_IN_MEMORY = 64 << 20

async function writeDisk(tree: string, scratch: string): Promise<void> {
  // needed once in a checkout's life, and a quarter of a second to load
  const { chunkCache, dumpDisk, loadManifest, openDisk, openLibrary, publish } = await import('#zosfs')
  await using library = openLibrary({ home: join(scratch, 'home') })
  const { digest } = await publish(library, `dir:${tree}`, 'modules')
  const manifest = await loadManifest(library.store, digest)
  await dumpDisk(openDisk(manifest, chunkCache(library.store, CHUNKS_IN_MEMORY)), join(scratch, 'out/disk'))
  const { dataBlocks, root } = manifest.disk
  const facts = { dataBlocks, hashStart: dataBlocks, rootHash: root.toString('hex') }
  await writeAtomic(join(scratch, 'out/facts.json'), JSON.stringify(facts))
}
