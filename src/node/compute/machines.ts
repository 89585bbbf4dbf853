import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  adoptMachine,
  classFor,
  createUpper,
  ensureTemplate,
  findTemplate,
  type MachineRecord,
  spawnMachine,
  type Machine as Vm,
  type VmHost,
} from '#vm'
import type { Machine, MachineRequest, Machines } from './parts.ts'

export type Exports = {
  createExport: (id: string, socket: string) => Promise<void>
  removeExport: (id: string) => Promise<void>
}

/** What a later daemon needs: the VM, and which export feeds it. */
type Record_ = { vm: MachineRecord; exportId: string }

/** An id short enough for socket paths and VM names. */
const shortId = (id: string): string => id.slice(0, 20)

/** Machines restored from templates, their root disks fed by the storage plane. */
export function openMachines(host: VmHost, exports: Exports, run: string): Machines {
  const nbdDir = join(run, 'nbd')
  mkdirSync(nbdDir, { recursive: true, mode: 0o711 })
  const socketOf = (exportId: string) => join(nbdDir, exportId)

  const wrap = (vm: Vm, exportId: string, volumes: number, fresh: boolean): Machine => ({
    pid: vm.record.pid,
    exportId,
    record: { vm: vm.record, exportId } satisfies Record_,
    agentSocket: vm.agentSocket,
    ended: vm.exited.then((e) => e.reason),
    pause: () => vm.pause(),
    resume: () => vm.resume(),
    fresh,
    volumeSerials: Array.from({ length: volumes }, (_, n) => `vol${n}`),
    async destroy() {
      await vm.kill()
      await exports.removeExport(exportId)
    },
  })

  const get = async (request: MachineRequest): Promise<Machine> => {
    const vmClass = classFor({ memory: request.memory, cpus: request.cpus })
    const exportId = shortId(request.id)
    const [template] = await Promise.all([
      findTemplate(host, vmClass).then((t) => t ?? ensureTemplate(host, vmClass, { onProgress: request.note })),
      exports.createExport(exportId, socketOf(exportId)),
    ])
    const upper = join(request.folder, 'upper.ext4')
    if (!existsSync(upper)) await createUpper(upper)
    try {
      const vm = await spawnMachine(host, template, {
        id: exportId,
        root: { kind: 'nbd', socket: socketOf(exportId) },
        upper: { kind: 'file', path: upper, durable: false },
        volumes: request.volumes.map((v) => ({ kind: 'file', path: v.path, durable: true })),
      })
      return wrap(vm, exportId, request.volumes.length, true)
    } catch (error) {
      await exports.removeExport(exportId)
      throw error
    }
  }

  const adopt = async (record: unknown, request: Omit<MachineRequest, 'note'>): Promise<Machine | undefined> => {
    const { vm: found, exportId } = (record ?? {}) as Partial<Record_>
    if (!found || !exportId) return undefined
    const vm = await adoptMachine(host, found)
    if (!vm) return undefined
    await exports.createExport(exportId, socketOf(exportId))
    return wrap(vm, exportId, request.volumes.length, false)
  }

  return { get, adopt }
}
