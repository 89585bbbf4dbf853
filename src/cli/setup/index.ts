import { join } from 'node:path'
import { CACHE } from '#node'
import { ensureInitramfs, ensureKernel, type Initramfs, type Kernel } from '#vm'
import { ensurePackagesOnce, type Need } from './packages.ts'

export type GuestFiles = { kernel: Kernel; initramfs: Initramfs }

const say = (line: string) => process.stderr.write(`zos: ${line}\n`)

/** All a node needs to run workloads: packages, guest kernel, zinit. Instant when it is there. */
export async function ensureNodeSetup(options: { yes?: boolean; purposes?: Need['for'][] } = {}): Promise<GuestFiles> {
  const yes = options.yes ?? false
  await ensurePackagesOnce(join(CACHE, 'setup'), options.purposes ?? ['run'], { yes, say })
  const kernel = await ensureKernel({ cacheDir: CACHE, onProgress: say })
  const initramfs = await ensureInitramfs({ cacheDir: CACHE, modulesRoot: kernel.modulesRoot, onProgress: say })
  return { kernel, initramfs }
}
