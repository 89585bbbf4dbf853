import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  adoptMachine,
  awaitAgent,
  classFor,
  coldBoot,
  createPool,
  defaultClass,
  ensureTemplate,
  findTemplate,
  isRunning,
  killStrays,
  type MachineRecord,
  type MachineSpec,
  makeUpperTemplate,
  spawnMachine,
  type Machine as Vm,
  type VmClass,
  type VmHost,
  writeUpper,
} from '#vm'
import type { Machine, MachineRequest, Machines } from './parts.ts'

export type Exports = {
  createExport: (id: string, socket: string) => Promise<void>
  removeExport: (id: string) => Promise<void>
  ownExport: (id: string, uid: number | undefined) => void
  epoch: () => number
}

/** What a later daemon needs: the VM, and which export feeds it. */
type Record_ = { vm: MachineRecord; exportId: string }

/** A VM with its disks, not yet told what it is. */
type Blank = { vm: Vm; exportId: string; upper: string; vmClass: VmClass; epoch: number }

export type MachinePool = Machines &
  AsyncDisposable & {
    /** Ends VMs that no workload of this home knows: what a killed daemon had waiting. */
    endStrays: (keep: readonly unknown[]) => void
    /** Makes clones ready in the background; call it when there is nothing better to do. */
    refill: () => void
    waiting: () => number
  }

const newExportId = (): string => randomBytes(8).toString('hex')

/** Machines restored from templates, their root disks fed by the storage plane. With TEMPLATES off each one boots cold. */
export async function openMachines(
  host: VmHost,
  exports: Exports,
  at: { home: string; run: string; templates: boolean; warm?: readonly VmClass[]; log: (line: string) => void },
): Promise<MachinePool> {
  const nbdDir = join(at.run, 'nbd')
  const poolDir = join(at.home, 'pool')
  mkdirSync(nbdDir, { recursive: true, mode: 0o711 })
  rmSync(poolDir, { recursive: true, force: true })
  mkdirSync(poolDir, { recursive: true, mode: 0o700 })
  const emptyUpper = await makeUpperTemplate(poolDir)

  const restoreOrBoot = async (spec: MachineSpec, note: (line: string) => void): Promise<Vm> => {
    if (!at.templates) return coldBoot(host, spec)
    const found = await findTemplate(host, spec.class)
    return spawnMachine(host, found ?? (await ensureTemplate(host, spec.class, { onProgress: note })), spec)
  }

  const spawn = async (
    vmClass: VmClass,
    disks: { upper: string; volumes: readonly string[] },
    note: (line: string) => void,
  ) => {
    const exportId = newExportId()
    const socket = join(nbdDir, exportId)
    await exports.createExport(exportId, socket)
    try {
      const spec: MachineSpec = {
        id: exportId,
        class: vmClass,
        root: { kind: 'nbd', socket },
        upper: { kind: 'file', path: disks.upper, durable: false },
        volumes: disks.volumes.map((path) => ({ kind: 'file', path, durable: true })),
      }
      const vm = await restoreOrBoot(spec, note)
      exports.ownExport(exportId, vm.record.uid)
      return { vm, exportId }
    } catch (error) {
      await exports.removeExport(exportId)
      throw error
    }
  }

  const discard = async ({ vm, exportId }: Pick<Blank, 'vm' | 'exportId'>) => {
    await vm.kill()
    await exports.removeExport(exportId)
  }

  const pool = createPool<Blank>({
    async create(vmClass) {
      const upper = join(poolDir, `${newExportId()}.ext4`)
      await writeUpper(emptyUpper, upper)
      try {
        const epoch = exports.epoch()
        const blank = { ...(await spawn(vmClass, { upper, volumes: [] }, at.log)), upper, vmClass, epoch }
        // the first contact is the slow one: emulation translates the guest's side of it
        await awaitAgent(blank.vm.agentSocket)
        return blank
      } catch (error) {
        rmSync(upper, { force: true })
        throw error
      }
    },
    async discard(blank) {
      await discard(blank)
      rmSync(blank.upper, { force: true })
    },
    // one whose disk's server has restarted since would wait seconds for QEMU to connect again
    usable: ({ vm, epoch }) => isRunning(vm.record) && epoch === exports.epoch(),
    warm: at.templates ? (at.warm ?? [defaultClass()]) : [],
    ...(at.templates ? {} : { most: 0 }),
    onError: (error) => at.log(`pool: ${error instanceof Error ? error.message : error}`),
  })

  const wrap = ({ vm, exportId }: Pick<Blank, 'vm' | 'exportId'>, volumes: number, fresh: boolean): Machine => ({
    pid: vm.record.pid,
    exportId,
    record: { vm: vm.record, exportId } satisfies Record_,
    agentSocket: vm.agentSocket,
    ended: vm.exited.then((e) => e.reason),
    pause: () => vm.pause(),
    resume: () => vm.resume(),
    fresh,
    volumeSerials: Array.from({ length: volumes }, (_, n) => `vol${n}`),
    destroy: () => discard({ vm, exportId }),
  })

  return {
    async get(request: MachineRequest) {
      const vmClass = classFor({ memory: request.memory, cpus: request.cpus })
      const upper = join(request.folder, 'upper.ext4')
      const first = !existsSync(upper)
      const waiting = first && request.volumes.length === 0 ? pool.claim(vmClass) : undefined
      if (waiting) {
        renameSync(waiting.upper, upper)
        return wrap(waiting, 0, true)
      }
      if (first) await writeUpper(emptyUpper, upper)
      const made = await spawn(vmClass, { upper, volumes: request.volumes.map((v) => v.path) }, request.note)
      return wrap(made, request.volumes.length, true)
    },
    async adopt(record, request) {
      const { vm: found, exportId } = (record ?? {}) as Partial<Record_>
      if (!found || !exportId) return undefined
      const vm = await adoptMachine(host, found)
      if (!vm) return undefined
      const socket = join(nbdDir, exportId)
      await exports.createExport(exportId, socket)
      exports.ownExport(exportId, vm.record.uid)
      await vm.lend(socket)
      return wrap({ vm, exportId }, request.volumes.length, false)
    },
    endStrays(keep) {
      killStrays(
        host,
        keep.flatMap((r) => (r as Partial<Record_> | null)?.vm ?? []),
      )
    },
    refill: () => pool.refill(),
    waiting: () => pool.size(),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}
