import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { reasonOf } from '#codec'
import {
  awaitAgent,
  CARD_MTU,
  classFor,
  connectAgent,
  createPool,
  defaultClass,
  giveVolume,
  growDisk,
  isRunning,
  killStrays,
  type MachineRecord,
  makeUpperTemplate,
  mendUpper,
  type Machine as Vm,
  type VmClass,
  type VmHost,
  writeUpper,
} from '#vm'
import { type Exports, type Fed, openBlanks } from './blanks.ts'
import { type Favourite, openFavourites } from './favourites.ts'
import type { Machine, Machines, Storage } from './parts.ts'

/** What a later daemon needs: the VM, and which export feeds it. */
type Record_ = { vm: MachineRecord; exportId: string }

const partsOf = (record: unknown): Partial<Record_> => (record ?? {}) as Partial<Record_>

/** What waits: clones of a class, or those that have one image's tree mounted. */
type Kind = { vmClass: VmClass; favourite?: Favourite }
type Waiting = Fed & { upper: string; epoch: number }

export type MachinePool = Machines &
  AsyncDisposable & {
    /** Ends VMs that no workload of this home knows: what a killed daemon had waiting. */
    endStrays: (keep: readonly unknown[]) => void
    /** Removes the exports of such VMs. */
    removeOthers: (keep: readonly unknown[]) => Promise<void>
    /** Ends what waits with an image's tree: nothing but workloads holds on to images then. */
    letGoOfImages: () => Promise<void>
    waiting: () => number
  }

/** All that wait together: two of the default class, two of the image last started, one of each other one in use. */
const MOST_WAITING = 6
/** Milliseconds since its last start after which nothing waits of a class, of the image last started, of another image. */
const CLASS_STALE_AFTER = 600_000
const IMAGE_STALE_AFTER = 600_000
const OTHER_STALE_AFTER = 60_000

const nameOf = ({ vmClass, favourite }: Kind): string =>
  `${vmClass.vcpus}/${vmClass.memoryMiB}/${favourite?.digest ?? ''}`

/**
 * A start in miniature: emulation translates the guest's side of it. It costs more CPU than it spares the start, so it is
 * for times when nobody waits.
 */
async function rehearse(vm: Vm): Promise<void> {
  await using agent = await connectAgent(vm.agentSocket, { fresh: true })
  const time = String(BigInt(Date.now()) * 1_000_000n)
  await agent.warmUp({ time, entropy: randomBytes(64).toString('base64') })
}

/** Machines restored from templates, their root disks fed by the storage plane. With TEMPLATES off each one boots cold. */
export async function openMachines(
  host: VmHost,
  storage: Exports & Pick<Storage, 'bind' | 'check'>,
  at: { home: string; run: string; templates: boolean; warm?: readonly VmClass[]; log: (line: string) => void },
): Promise<MachinePool> {
  const poolDir = join(at.home, 'pool')
  rmSync(poolDir, { recursive: true, force: true })
  mkdirSync(poolDir, { recursive: true, mode: 0o700 })
  // what is taken up needs none
  const empty = makeUpperTemplate(poolDir)
  empty.catch(() => {})
  const blanks = openBlanks(host, storage, at)
  const favourites = openFavourites(host, storage, blanks, empty, at.log)
  /** The image last started: more of its clones wait than of another one's. */
  let latest = ''

  const discard = async (waiting: Waiting): Promise<void> => {
    await blanks.discard(waiting)
    rmSync(waiting.upper, { force: true })
  }
  const pool = createPool<Kind, Waiting>({
    nameOf,
    async create({ vmClass, favourite }) {
      const template = favourite && (await favourites.ensure(favourite))
      const upper = join(poolDir, `${randomBytes(8).toString('hex')}.ext4`)
      await writeUpper(template?.upper ?? (await empty), upper)
      const epoch = storage.epoch()
      const bound = favourite ? { bound: (id: string) => storage.bind(id, favourite.digest) } : {}
      let fed: Fed | undefined
      try {
        fed = await blanks.make(template ?? vmClass, { upper, volumes: [] }, { note: at.log, ...bound })
        // the first contact is the slow one: emulation translates the guest's side of it
        await awaitAgent(fed.vm.agentSocket)
        return { ...fed, upper, epoch }
      } catch (error) {
        if (fed) await blanks.discard(fed)
        rmSync(upper, { force: true })
        throw error
      }
    },
    ...(host.accel === 'tcg' ? { polish: ({ vm }: Waiting) => rehearse(vm) } : {}),
    discard,
    // one whose disk's server has restarted since would wait seconds for QEMU to connect again
    usable: ({ vm, epoch }) => isRunning(vm.record) && epoch === storage.epoch(),
    wanted(kind, { warm, ago }) {
      if (kind.favourite && nameOf(kind) !== latest) return ago < OTHER_STALE_AFTER ? 1 : 0
      if (kind.favourite) return ago < IMAGE_STALE_AFTER ? 2 : 0
      return warm ? 2 : ago < CLASS_STALE_AFTER ? 1 : 0
    },
    warm: at.templates ? (at.warm ?? [defaultClass()]).map((vmClass) => ({ vmClass })) : [],
    most: at.templates ? MOST_WAITING : 0,
    onError: (error) => at.log(`pool: ${reasonOf(error)}`),
  })

  const wrap = ({ vm, exportId }: Fed, volumes: number, fresh: boolean): Machine => ({
    pid: vm.record.pid,
    exportId,
    record: { vm: vm.record, exportId } satisfies Record_,
    agentSocket: vm.agentSocket,
    nic: vm.nic,
    mtu: CARD_MTU[host.isolation.cards],
    ended: vm.exited.then((e) => e.reason),
    pause: () => vm.pause(),
    resume: () => vm.resume(),
    onStall: (listener) => vm.onStall(listener),
    fresh,
    volumeSerials: Array.from({ length: volumes }, (_, n) => `vol${n}`),
    growDisk: (serial, path, size) => growDisk(vm, serial, path, size),
    destroy: () => blanks.discard({ vm, exportId }),
  })

  return {
    async get(request) {
      const vmClass = classFor({ memory: request.memory, cpus: request.cpus })
      const upper = join(request.folder, 'upper.ext4')
      const volumes = request.volumes.map((v) => v.path)
      const { note, digest } = request
      /** One of KIND that waits, with the volumes; undefined: none waits, or it did not take them. */
      const claim = async (kind: Kind): Promise<Machine | undefined> => {
        const waiting = pool.claim(kind)
        if (!waiting) return undefined
        try {
          for (const [n, path] of volumes.entries()) await giveVolume(waiting.vm, `vol${n}`, path)
        } catch (error) {
          at.log(`pool: ${reasonOf(error)}`)
          await discard(waiting)
          return undefined
        }
        renameSync(waiting.upper, upper)
        return wrap(waiting, volumes.length, true)
      }
      // a writable layer that was used before is not the one an image's template has mounted
      const first = !existsSync(upper)
      // one that is to hold more than what waits can is made for itself
      const large = request.disk !== undefined && request.disk > (await empty).size
      const favourite =
        first && !large && !request.readOnly && at.templates ? favourites.started(vmClass, request) : undefined
      if (favourite) {
        const kind = { vmClass, favourite }
        latest = nameOf(kind)
        pool.touch(kind)
        const machine = await claim(kind)
        if (machine) return machine
        const template = await favourites.find(favourite)
        if (template) {
          await writeUpper(template.upper, upper)
          const bound = (id: string) => storage.bind(id, digest)
          return wrap(await blanks.make(template, { upper, volumes }, { note, bound }), volumes.length, true)
        }
      }
      const machine = first && !large ? await claim({ vmClass }) : undefined
      if (machine) return machine
      const layer = first && (large ? await makeUpperTemplate(poolDir, request.disk) : await empty)
      await (layer ? writeUpper(layer, upper) : mendUpper(upper))
      return wrap(await blanks.make(vmClass, { upper, volumes }, { note }), volumes.length, true)
    },
    async adopt(record, { volumes, step }) {
      const { vm, exportId } = partsOf(record)
      const fed = vm && exportId ? await blanks.adopt(vm, exportId, step) : undefined
      return fed && wrap(fed, volumes, false)
    },
    async end(record) {
      const { vm, exportId } = partsOf(record)
      if (vm && exportId) await blanks.end(vm, exportId)
    },
    pidOf: (record) => partsOf(record).vm?.pid ?? null,
    refill: () => pool.refill(),
    endStrays(keep) {
      killStrays(
        host,
        keep.flatMap((r) => partsOf(r).vm ?? []),
      )
    },
    removeOthers: (keep) => blanks.removeOthers(keep.flatMap((r) => partsOf(r).exportId ?? [])),
    letGoOfImages: () => pool.drop(({ favourite }) => favourite !== undefined),
    waiting: () => pool.size(),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}
