import { accessSync, constants, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJson, reasonOf, sha256Hex } from '#codec'
import { writeAtomic } from '#sys'
import type { Accel } from './args.ts'
import type { Kernel } from './kernel.ts'
import type { Qemu } from './qemu.ts'

export type AccelChoice = { accel: Accel; reason: string }

/** A guest under KVM is up in well below one second; a nested KVM that cannot run our kernel often just hangs. */
export const PROBE_DEADLINE = 10_000

export type AccelOptions = {
  cacheDir: string
  qemu: Qemu
  kernel: Pick<Kernel, 'sha256'>
  /** Boots a real guest under KVM and resolves when its agent answered; rejects otherwise. */
  probe: (signal: AbortSignal) => Promise<void>
  /** Tests name another file. */
  device?: string
}

/**
 * KVM where a guest really boots under it, else TCG. /dev/kvm may open and still not run a stock kernel (nested
 * virtualisation), so only the probe counts; its answer holds for this QEMU, kernel and boot of the machine.
 */
export async function chooseAccel(options: AccelOptions): Promise<AccelChoice> {
  const device = options.device ?? '/dev/kvm'
  try {
    accessSync(device, constants.R_OK | constants.W_OK)
  } catch (error) {
    return { accel: 'tcg', reason: `"${device}" cannot be opened (${reasonOf(error)}): software emulation` }
  }
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const facts = { qemu: options.qemu.text, kernel: options.kernel.sha256, boot, device }
  const key = sha256Hex(Buffer.from(canonicalJson(facts)))
  const path = join(options.cacheDir, 'accel.json')
  const cached = await readFile(path, 'utf8')
    .then((text) => JSON.parse(text) as AccelChoice & { key: string })
    .catch(() => undefined)
  if (cached?.key === key) return { accel: cached.accel, reason: cached.reason }
  const choice = await ask(options.probe)
  await writeAtomic(path, `${JSON.stringify({ key, ...choice })}\n`, { sync: false })
  return choice
}

async function ask(probe: AccelOptions['probe']): Promise<AccelChoice> {
  try {
    await probe(AbortSignal.timeout(PROBE_DEADLINE))
    return { accel: 'kvm', reason: 'a guest booted under KVM' }
  } catch (error) {
    return {
      accel: 'tcg',
      reason: `no guest booted under KVM (${reasonOf(error)}): software emulation`,
    }
  }
}
