import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  adoptMachine,
  coldBoot,
  endMachine,
  ensureTemplate,
  type MachineRecord,
  type MachineSpec,
  spawnMachine,
  type Machine as Vm,
  type VmClass,
  type VmHost,
} from '#vm'

export type Exports = {
  createExport: (id: string, socket: string) => Promise<void>
  removeExport: (id: string) => Promise<void>
  removeOthers: (dir: string, keep: readonly string[]) => Promise<void>
  ownExport: (id: string, uid: number | undefined) => void
  epoch: () => number
}

/** A VM whose root disk the storage plane serves. */
export type Fed = { vm: Vm; exportId: string }

/** What it comes out of: a template, the one of its class, or a boot. */
export type Origin = Parameters<typeof spawnMachine>[1] | VmClass

export type Blanks = {
  /** BOUND: called between the making of its export and its start, where the guest knows its root already. */
  make: (
    origin: Origin,
    disks: { upper: string; volumes: readonly string[] },
    options: { note: (line: string) => void; bound?: (exportId: string) => Promise<unknown> },
  ) => Promise<Fed>
  /** Takes up a VM of an earlier daemon; undefined when it has ended. STEP is told what is waited for. */
  adopt: (record: MachineRecord, exportId: string, step: (what: string) => void) => Promise<Fed | undefined>
  /** Ends one that was not taken up, whether it answers or not. */
  end: (record: MachineRecord, exportId: string) => Promise<void>
  /** An export that no VM of ours uses, while ACT runs. */
  withExport: <T>(act: (exportId: string, socket: string) => Promise<T>) => Promise<T>
  discard: (fed: Fed) => Promise<void>
  /** Removes what feeds no VM that was made or adopted here, but for the exports in KEEP: an earlier daemon's. */
  removeOthers: (keep: readonly string[]) => Promise<void>
}

/** VMs with their disks, not yet told what they are. With TEMPLATES off each one boots cold. */
export function openBlanks(host: VmHost, exports: Exports, at: { run: string; templates: boolean }): Blanks {
  const dir = join(at.run, 'nbd')
  mkdirSync(dir, { recursive: true, mode: 0o711 })

  const start = async (origin: Origin, spec: Omit<MachineSpec, 'class'>, note: (line: string) => void): Promise<Vm> => {
    if ('ram' in origin) return spawnMachine(host, origin, spec)
    if (!at.templates) return coldBoot(host, { ...spec, class: origin })
    return spawnMachine(host, await ensureTemplate(host, origin, { onProgress: note }), spec)
  }
  const openExport = async () => {
    const exportId = randomBytes(8).toString('hex')
    const socket = join(dir, exportId)
    await exports.createExport(exportId, socket)
    return { exportId, socket }
  }
  return {
    async make(origin, { upper, volumes }, { note, bound }) {
      const { exportId, socket } = await openExport()
      try {
        await bound?.(exportId)
        const spec = {
          id: exportId,
          root: { kind: 'nbd', socket },
          upper: { kind: 'file', path: upper, durable: false },
          volumes: volumes.map((path) => ({ kind: 'file', path, durable: true }) as const),
        } as const
        const vm = await start(origin, spec, note)
        exports.ownExport(exportId, vm.record.uid)
        return { vm, exportId }
      } catch (error) {
        await exports.removeExport(exportId)
        throw error
      }
    },
    async adopt(record, exportId, step) {
      step('its QEMU')
      const vm = await adoptMachine(host, record)
      if (!vm) return undefined
      try {
        step('the storage plane')
        const socket = join(dir, exportId)
        await exports.createExport(exportId, socket)
        exports.ownExport(exportId, vm.record.uid)
        await vm.lend(socket)
        return { vm, exportId }
      } catch (error) {
        // the next attempt needs its control socket
        await vm.release()
        throw error
      }
    },
    async end(record, exportId) {
      await endMachine(host, record)
      await exports.removeExport(exportId)
      rmSync(join(dir, exportId), { force: true })
    },
    async withExport(act) {
      const { exportId, socket } = await openExport()
      try {
        return await act(exportId, socket)
      } finally {
        await exports.removeExport(exportId)
      }
    },
    async discard({ vm, exportId }) {
      await vm.kill()
      await exports.removeExport(exportId)
    },
    removeOthers: (keep) => exports.removeOthers(dir, keep),
  }
}
