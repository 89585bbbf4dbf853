import { availableParallelism, totalmem } from 'node:os'
import { ZosError } from '#codec'
import type { VmClass } from './args.ts'

const MIB = 2 ** 20

/** Memory limits with a class of their own, MiB; a limit in between gets the next larger one's guest. */
export const CLASS_LIMITS = [64, 128, 256, 512, 1024, 2048, 4096, 8192] as const
/** What a workload gets that asks for nothing: untouched memory of a clone costs nothing. */
export const DEFAULT_LIMIT_MIB = 512
const DEFAULT_VCPUS = 1
const VCPUS = [1, 2, 4, 8, 16] as const

/** What the machine has; a parameter so that tests need no large machine. */
export type HostSize = { memoryMiB: number; cores: number }

export const hostSize = (): HostSize => ({ memoryMiB: Math.floor(totalmem() / MIB), cores: availableParallelism() })

/**
 * RAM of a guest in which LIMIT MiB are wholly usable. Measured on 6.12: 61 MiB are gone at 96 MiB of RAM (kernel
 * image, tables, initramfs) and 2.5 % of what is above; 35 MiB stay for the agent, its modules and the disks' caches.
 */
export function guestMemory(limitMiB: number): number {
  return Math.ceil((limitMiB + 96 + limitMiB / 32) / 16) * 16
}

/** The limits this machine can hold. */
function limitsOf(host: HostSize): number[] {
  const fit = CLASS_LIMITS.filter((limit) => guestMemory(limit) <= host.memoryMiB)
  return fit.length > 0 ? fit : [CLASS_LIMITS[0]]
}

/**
 * The smallest class that holds MEMORY bytes and CPUS (both optional, 0 is "no limit asked"). The exact limit is
 * enforced by the guest's cgroup. Throws `class-too-large`, naming the largest.
 */
export function classFor(want: { memory?: number; cpus?: number }, host: HostSize = hostSize()): VmClass {
  const limits = limitsOf(host)
  const largest = limits.at(-1)!
  const asked = want.memory ? want.memory / MIB : Math.min(DEFAULT_LIMIT_MIB, largest)
  const limit = limits.find((l) => l >= asked)
  if (limit === undefined) {
    throw new ZosError(
      `Find a VM class: a memory limit of ${Math.ceil(asked)} MiB is above the largest class, ${largest} MiB; ask for less`,
      { code: 'class-too-large', details: { askedMiB: asked, largestMiB: largest } },
    )
  }
  const most = Math.max(1, host.cores)
  const cpus = want.cpus || DEFAULT_VCPUS
  if (cpus > most) {
    throw new ZosError(`Find a VM class: ${cpus} CPUs are more than the ${most} of this machine; ask for less`, {
      code: 'class-too-large',
      details: { cpus, largestCpus: most },
    })
  }
  const vcpus = Math.min(VCPUS.find((n) => n >= cpus) ?? most, most)
  return { vcpus, memoryMiB: guestMemory(limit) }
}

/** The class of a workload that asks for nothing: the one whose template and pool are kept warm. */
export const defaultClass = (host: HostSize = hostSize()): VmClass => classFor({}, host)
