import { sleep } from '#sys'
import { awaitAgent, ensureInitramfs, ensureKernel, openVmHost, type VmClass, type VmHost } from '#vm'
import { CACHE } from '../cache.ts'
import type { Exports } from './blanks.ts'
import { openCards } from './cards.ts'
import { Engine } from './engine.ts'
import { type MachinePool, openMachines } from './machines.ts'
import type { Storage } from './parts.ts'
import { halt } from './stop.ts'
import { Volumes } from './volumes.ts'

/** Longer than a guest gets to settle its file systems: then something hangs, such as a storage plane that does not answer. */
const END_DEADLINE = 15_000

/** How long machines that were taken up have the CPU to themselves before others are made to wait. Milliseconds. */
const SETTLING = 2000

/** All that runs workloads, whichever process it lives in: the one-node daemon or a node's compute plane. */
export type Compute = {
  host: VmHost
  machines: MachinePool
  volumes: Volumes
  engine: Engine
  /** Ends every machine; what should run starts again with the next one opened. */
  end: () => Promise<void>
}

async function openHost({ home, run }: { home: string; run: string }): Promise<VmHost> {
  const kernel = await ensureKernel({ cacheDir: CACHE })
  const initramfs = await ensureInitramfs({ cacheDir: CACHE, modulesRoot: kernel.modulesRoot })
  return openVmHost({ home, runDir: run, cacheDir: CACHE, kernel, initramfs, awaitAgent })
}

/** Opens the workloads of HOME and takes up those that still run. WARM: classes kept ready before anyone asks. */
export async function openCompute(at: {
  home: string
  run: string
  /** May still be opening. */
  storage: (Storage & Exports) | Promise<Storage & Exports>
  templates: boolean
  /** Whether what always runs starts at once; else whoever drives it says when. */
  resume: boolean
  warm?: readonly VmClass[]
  log: (line: string) => void
}): Promise<Compute> {
  const { home, run, log } = at
  const [storage, host] = await Promise.all([at.storage, openHost(at)])
  const volumes = new Volumes(home)
  const { templates, warm } = at
  const machines = await openMachines(host, storage, { home, run, templates, log, ...(warm ? { warm } : {}) })
  const cards = openCards(run)
  const engine = new Engine({ home, machines, storage, volumes, cards, log })
  await engine.recover()
  cards.keep(
    engine
      .list()
      .filter((w) => w.status.machine !== null)
      .map((w) => w.spec.name),
  )
  machines.endStrays(engine.records())
  await machines.removeOthers(engine.records())
  if (at.resume) engine.resume()
  // what was taken up hands over its output first: a restore takes a core for a while
  if (engine.records().length === 0) machines.refill()
  else setTimeout(machines.refill, SETTLING).unref()
  return {
    host,
    machines,
    volumes,
    engine,
    async end() {
      const inOrder = Promise.allSettled(engine.list().map((w) => halt(w)))
        .then(() => machines[Symbol.asyncDispose]())
        .then(() => 'ended')
      if ((await Promise.race([inOrder, sleep(END_DEADLINE)])) === undefined)
        log(`down: not all ended within ${END_DEADLINE / 1000} s; every machine is ended at once`)
      machines.endStrays([])
      await host[Symbol.asyncDispose]()
    },
  }
}
