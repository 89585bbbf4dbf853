import { readdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { until } from '#sys'
import { bootOf, clockWords } from './boot.ts'
import type { VmHost } from './host.ts'
import { identify, isRunning, killProcess, processesWith } from './identity.ts'
import { type Machine, type MachineRecord, qmpSocketOf, watchMachine } from './machine.ts'
import { connectQmp } from './qmp.ts'
import { type MachineSpec, spawnQemu } from './spawn.ts'
import type { Template } from './template.ts'

/** Boots the kernel: 3 s under TCG. The agent answers when it is up. */
export const coldBoot = (host: VmHost, spec: MachineSpec): Promise<Machine> =>
  spawnQemu(host, spec, { start: 'cold', boot: bootOf(host, clockWords(host)) })

/**
 * Restores TEMPLATE with copy-on-write memory and SPEC's own disks. It runs when this resolves (`paused`: it waits
 * for resume()). The guest still has to be told who it is: entropy, clock, hostname and machine-id travel in the
 * agent's start message.
 */
export function spawnMachine(
  host: VmHost,
  template: Template,
  spec: Omit<MachineSpec, 'class'>,
  options: { paused?: boolean } = {},
): Promise<Machine> {
  return spawnQemu(
    host,
    { ...spec, class: template.class },
    {
      start: 'clone',
      memory: { path: template.ram, share: false },
      state: { path: template.state, paused: options.paused ?? false },
    },
  )
}

/**
 * Takes over a VM that an earlier daemon started; undefined when it has ended meanwhile. Only one daemon can hold a
 * VM's control socket at a time. Throws `qemu-gone` when it does not answer; its uid is nobody else's all the same.
 */
export async function adoptMachine(host: VmHost, record: MachineRecord): Promise<Machine | undefined> {
  if (!isRunning(record)) return undefined
  host.isolation.keepUid(record.uid)
  try {
    const qmp = await connectQmp(qmpSocketOf(record.dir), 5000, () => !isRunning(record))
    return watchMachine(record, qmp, () => host.isolation.giveUid(record.uid))
  } catch (error) {
    if (!isRunning(record)) {
      host.isolation.giveUid(record.uid)
      return undefined
    }
    throw new ZosError(`Adopt VM "${record.id}": ${error instanceof Error ? error.message : error}`, {
      code: codeOf(error) || 'qemu-gone',
      kind: 'node',
      cause: error,
    })
  }
}

/** Ends the VM of RECORD, whether it answers or not, and removes its folder; nothing of the guest is flushed. */
export async function endMachine(host: VmHost, record: MachineRecord): Promise<void> {
  killProcess(record)
  await until(`killed QEMU ${record.pid} to end`, 10_000, () => !isRunning(record), 5)
  await rm(record.dir, { recursive: true, force: true })
  host.isolation.giveUid(record.uid)
}

/**
 * Kills every QEMU of the run folder but those in KEEP and removes their folders: `zos down`, and what a killed daemon
 * had not recorded yet. Returns how many were killed.
 */
export function killStrays(host: Pick<VmHost, 'vmDir'>, keep: readonly MachineRecord[] = []): number {
  const kept = new Set(keep.map(({ pid, startTime }) => `${pid} ${startTime}`))
  let killed = 0
  for (const { identity, args } of processesWith(`path=${host.vmDir}/`)) {
    if (!args.some((a) => a.includes('qemu-system')) || kept.has(`${identity.pid} ${identity.startTime}`)) continue
    if (identify(identity.pid)) killed++
    killProcess(identity)
  }
  const folders = new Set(keep.map(({ dir }) => dir))
  for (const name of readdirSync(host.vmDir)) {
    const dir = join(host.vmDir, name)
    if (!folders.has(dir)) rmSync(dir, { recursive: true, force: true })
  }
  return killed
}
