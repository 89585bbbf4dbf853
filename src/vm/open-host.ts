import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { chooseAccel, PROBE_DEADLINE } from './accel.ts'
import type { Accel } from './args.ts'
import { awaitBoot, bootOf } from './boot.ts'
import { tscKhz } from './guest-clock.ts'
import type { Initramfs, VmHost } from './host.ts'
import { openIsolation } from './isolation.ts'
import type { Kernel } from './kernel.ts'
import { findQemu, type Qemu } from './qemu.ts'
import { ensureSpare } from './spare.ts'
import { PLACEHOLDER, spawnQemu } from './spawn.ts'
import { sweepTemplates } from './template.ts'

export type VmHostOptions = {
  home: string
  /** Made here with mode 0711 when missing; at most 60 bytes long. */
  runDir: string
  /** Where the answer of the KVM probe is kept: the checkout's cache. */
  cacheDir: string
  kernel: Kernel
  initramfs: Initramfs
  awaitAgent: VmHost['awaitAgent']
  /** Instead of asking the machine. */
  accel?: Accel
  qemu?: Qemu
  signal?: AbortSignal
}

/** Gathers what VMs need. Dispose it at the very end: VMs that run go on without it. */
export async function openVmHost(options: VmHostOptions): Promise<VmHost> {
  const { home, runDir, kernel, initramfs, awaitAgent } = options
  const templatesDir = join(home, 'templates')
  const vmDir = join(runDir, 'vm')
  await mkdir(templatesDir, { recursive: true, mode: 0o700 })
  // a VM's uid has to pass through to its own sockets, and sees nobody else's names
  await mkdir(runDir, { recursive: true, mode: 0o711 })
  await mkdir(vmDir, { recursive: true, mode: 0o711 })
  // workloads of a daemon that was killed wait for this
  const finding = (async () => {
    const qemu = options.qemu ?? (await findQemu())
    return { qemu, spare: await ensureSpare(options.cacheDir, qemu) }
  })()
  const [{ qemu, spare }, isolation] = await Promise.all([finding, openIsolation()])
  const host: VmHost = {
    qemu,
    spare,
    kernel,
    initramfs,
    isolation,
    templatesDir,
    vmDir,
    awaitAgent,
    accel: options.accel ?? 'kvm',
    accelReason: 'as asked for',
    tscKhz: tscKhz(),
    [Symbol.asyncDispose]: () => isolation[Symbol.asyncDispose](),
  }
  if (options.accel) return settled(host)
  const probe = (deadline: AbortSignal) =>
    probeBoot(host, AbortSignal.any([deadline, ...(options.signal ? [options.signal] : [])]))
  const { accel, reason } = await chooseAccel({ cacheDir: options.cacheDir, qemu, kernel, probe })
  return settled({ ...host, accel, accelReason: reason })
}

async function settled(host: VmHost): Promise<VmHost> {
  await sweepTemplates(host)
  return host
}

/** Boots the real guest, once. */
async function probeBoot(host: VmHost, signal: AbortSignal): Promise<void> {
  const spec = {
    id: `probe-${process.pid}`,
    class: { vcpus: 1, memoryMiB: 256 },
    root: PLACEHOLDER,
    upper: PLACEHOLDER,
  }
  await using machine = await spawnQemu(host, spec, { start: 'cold', tied: true, boot: bootOf(host, '') })
  // a vCPU that KVM cannot run stops the guest instead of ending it
  const stopped = Promise.withResolvers<never>()
  stopped.promise.catch(() => {})
  machine.qmp.listen(({ event }) => event === 'STOP' && stopped.reject(new Error('KVM stopped the vCPU')))
  await Promise.race([awaitBoot(host, machine, AbortSignal.timeout(PROBE_DEADLINE), signal), stopped.promise])
}
