import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Accel } from './args.ts'
import { type Isolation, openIsolation } from './isolation.ts'
import type { Kernel } from './kernel.ts'
import { findQemu, type Qemu } from './qemu.ts'

export type Initramfs = { path: string; sha256: string }

/** Everything a VM of this node is made from. */
export type VmHost = AsyncDisposable & {
  qemu: Qemu
  accel: Accel
  kernel: Kernel
  initramfs: Initramfs
  isolation: Isolation
  /** `$ZOS_HOME/templates`: state of this home. */
  templatesDir: string
  /** `/run/zos-…/vm`: one folder of sockets per VM; short, entered by every VM's uid. */
  vmDir: string
  /** Waits until the guest's agent answers on its socket. */
  awaitAgent: (socket: string, signal?: AbortSignal) => Promise<void>
}

export type VmHostOptions = {
  home: string
  /** Made here with mode 0711 when missing; at most 60 bytes long. */
  runDir: string
  accel: Accel
  kernel: Kernel
  initramfs: Initramfs
  awaitAgent: VmHost['awaitAgent']
  qemu?: Qemu
}

/** Gathers what VMs need. Dispose it at the very end: VMs that run go on without it. */
export async function openVmHost(options: VmHostOptions): Promise<VmHost> {
  const { home, runDir, accel, kernel, initramfs, awaitAgent } = options
  const templatesDir = join(home, 'templates')
  const vmDir = join(runDir, 'vm')
  await mkdir(templatesDir, { recursive: true, mode: 0o700 })
  // a VM's uid has to pass through to its own sockets, and sees nobody else's names
  await mkdir(runDir, { recursive: true, mode: 0o711 })
  await mkdir(vmDir, { recursive: true, mode: 0o711 })
  const qemu = options.qemu ?? (await findQemu())
  const isolation = await openIsolation()
  return {
    ...{ qemu, accel, kernel, initramfs, isolation, templatesDir, vmDir, awaitAgent },
    [Symbol.asyncDispose]: () => isolation[Symbol.asyncDispose](),
  }
}
