import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { sha256Hex } from '#codec'
import { CACHE } from '#node'
import { writeAtomic } from '#sys'
import { ensureInitramfs, ensureKernel, type Initramfs, type Kernel } from '#vm'
import { ensurePackages, NEEDS, type Need } from './packages.ts'

export type GuestFiles = { kernel: Kernel; initramfs: Initramfs }

const say = (line: string) => process.stderr.write(`zos: ${line}\n`)

async function packages(purposes: Need['for'][], yes: boolean): Promise<void> {
  // asking dpkg costs 30 ms: once it has answered for this list, its word is kept
  const names = NEEDS.filter((n) => purposes.includes(n.for)).map((n) => n.package)
  const stamp = join(CACHE, 'setup', `packages-${sha256Hex(Buffer.from(names.join(' '))).slice(0, 16)}`)
  if (existsSync(stamp)) return
  await ensurePackages(purposes, { yes, say })
  await writeAtomic(stamp, `${names.join('\n')}\n`, { sync: false })
}

/** All a node needs to run workloads: packages, guest kernel, zinit. Instant when it is there. */
export async function ensureNodeSetup(options: { yes?: boolean; purposes?: Need['for'][] } = {}): Promise<GuestFiles> {
  await packages(options.purposes ?? ['run'], options.yes ?? false)
  const kernel = await ensureKernel({ cacheDir: CACHE, onProgress: say })
  const initramfs = await ensureInitramfs({ cacheDir: CACHE, modulesRoot: kernel.modulesRoot, onProgress: say })
  return { kernel, initramfs }
}
