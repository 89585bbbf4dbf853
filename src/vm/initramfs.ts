import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { byContent, writeAtomic } from '#sys'
import { type CpioEntry, cpio } from './cpio.ts'
import type { Initramfs } from './host.ts'
import { collectModules } from './modules.ts'
import { ensureModulesDisk } from './modules-disk.ts'
import { type BuildOptions, ensureZinit } from './zinit.ts'

/** What Debian's cloud kernel has as modules and a microVM needs before it has a root; the rest is built in. */
const MODULES = ['virtio_blk', 'virtio_net', 'virtio_rng', 'erofs', 'overlay', 'dm_verity', 'virtio_console', 'ext4']
/** Faster SHA-256 for dm-verity where the CPU has the instructions. */
const OPTIONAL = ['sha256_ssse3']

/**
 * The initramfs of every microVM: zinit as /init and the kernel modules in the order they are loaded. `modulesRoot` is the
 * folder that holds `kernel/…` (Kernel.modulesRoot of ensureKernel). Uncompressed: under emulation unpacking costs more
 * than reading. The disk with all other modules is made with it, since its root hash lies inside. Deterministic; a re-run
 * only looks at file times.
 */
export async function ensureInitramfs(options: BuildOptions & { modulesRoot: string }): Promise<Initramfs> {
  const zinit = await ensureZinit(options)
  const { path: modulesDisk, dataBlocks, hashStart, rootHash } = await ensureModulesDisk(options)
  const dir = join(options.cacheDir, 'initramfs')
  // the modules' folder is named by the kernel's content and never changes
  const key = await byContent(
    dir,
    [zinit.path, import.meta.filename],
    `${relative(options.cacheDir, options.modulesRoot)} ${rootHash}`,
    async (name) => {
      options.onProgress?.('initramfs: packing kernel modules')
      const modules = await collectModules(options.modulesRoot, MODULES, OPTIONAL)
      const folder = (path: string): CpioEntry => ({ path, mode: 0o040755 })
      const entries: CpioEntry[] = [
        folder('dev'),
        // the kernel opens it for PID 1's standard descriptors before anything is mounted
        { path: 'dev/console', mode: 0o020600, major: 5, minor: 1 },
        { path: 'init', mode: 0o100755, data: await readFile(zinit.path) },
        folder('modules'),
        { path: 'modules/order', mode: 0o100644, data: Buffer.from(modules.map((m) => `${m.name}.ko\n`).join('')) },
        { path: 'modules/disk', mode: 0o100644, data: Buffer.from(`${dataBlocks} ${hashStart} ${rootHash}`) },
        ...modules.map((m) => ({ path: `modules/${m.name}.ko`, mode: 0o100644, data: m.data })),
      ]
      await writeAtomic(join(dir, name), cpio(entries))
    },
  )
  return { path: join(dir, key), sha256: key, modulesDisk }
}
