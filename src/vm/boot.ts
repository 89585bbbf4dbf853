import { reasonOf } from '#codec'
import type { QemuInput } from './args.ts'
import type { VmHost } from './host.ts'
import type { Machine } from './machine.ts'

/** What a guest boots, with APPEND on its kernel's command line. */
export const bootOf = ({ kernel, initramfs }: VmHost, append: string): NonNullable<QemuInput['boot']> => ({
  vmlinux: kernel.vmlinux,
  initramfs: initramfs.path,
  append,
})

/** Tells an emulated guest's kernel how fast its TSC counts. */
export const clockWords = ({ accel, tscKhz }: VmHost): string =>
  accel === 'tcg' && tscKhz !== undefined ? `tsc_early_khz=${tscKhz}` : ''

/**
 * Waits until the agent of a guest that boots answers, or LATE aborts. A guest that ends or hangs instead is reported with its
 * console's last lines.
 */
export async function awaitBoot(
  host: Pick<VmHost, 'awaitAgent'>,
  machine: Machine,
  late: AbortSignal,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = AbortSignal.any([late, ...(signal ? [signal] : [])])
  const early = machine.exited.then(({ reason, console }) => {
    throw new Error(withConsole(reason, console))
  })
  // the loser of the race may still reject, with nobody left to hear it
  early.catch(() => {})
  const over = new Promise<never>((_, reject) => {
    deadline.addEventListener('abort', () => reject(deadline.reason as Error), { once: true })
  })
  over.catch(() => {})
  try {
    await Promise.race([host.awaitAgent(machine.agentSocket, deadline), early, over])
  } catch (error) {
    signal?.throwIfAborted()
    throw new Error(withConsole(reasonOf(error), await machine.console()), { cause: error })
  }
}

function withConsole(reason: string, console: string): string {
  const text = console.trim().slice(-600)
  return text && !reason.includes('console: ') ? `${reason}; console: ${text}` : reason
}
