import type { Accel } from './args.ts'
import type { Isolation } from './isolation.ts'
import type { Kernel } from './kernel.ts'
import type { Qemu } from './qemu.ts'

export type Initramfs = {
  path: string
  sha256: string
  /** The disk of kernel modules whose root hash it holds. */
  modulesDisk: string
}

/** Everything a VM of this node is made from. */
export type VmHost = AsyncDisposable & {
  qemu: Qemu
  /** A folder of libraries that QEMU takes before the system's: see spare.ts. */
  spare: string | undefined
  accel: Accel
  /** Why this accelerator, for people. */
  accelReason: string
  /** How fast the processor's TSC counts, where that is known. */
  tscKhz: number | undefined
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
