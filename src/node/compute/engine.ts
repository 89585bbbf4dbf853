import { reasonOf, ZosError } from '#codec'
import { within } from '#sys'
import type { RunRequest, WorkloadView } from '#wire'
import { adopt, resumePolicy } from './adopt.ts'
import { growInUse } from './grow.ts'
import { checkName, newId, newName } from './names.ts'
import { type ImageConfig, resolveSpec } from './spec.ts'
import { type Removal, remove } from './stop.ts'
import { loadWorkloads, saveSpec } from './store.ts'
import { openWorkload, type Surroundings, view, type Workload, waitExit } from './workload.ts'

/** How long a start waits for machines that an earlier daemon left; what takes longer goes on behind it. Milliseconds. */
const TAKING_UP = 3000

/** Digits that name a workload by the beginning of its id. */
const LEAST_OF_ID = 4

/** All workloads of this node. */
export class Engine {
  readonly #at: Surroundings
  readonly #all = new Map<string, Workload>()
  /** Names of workloads that are being created. */
  readonly #reserved = new Set<string>()

  constructor(at: Surroundings) {
    this.#at = at
    at.volumes.users = {
      isEnding: (id) => this.#all.get(id)?.ending ?? false,
      growInUse: (id, ...what) => growInUse(this.#all.get(id)!, ...what),
      nameOf: (id) => this.#all.get(id)?.spec.name ?? id,
      usedBy: (name, except) =>
        [...this.#all.values()].find(
          (w) => w.spec.id !== except && !w.removed && w.spec.volumes.some((v) => v.source === name),
        )?.spec.id,
    }
  }

  /** Loads what is on disk and takes up what still runs, in the background when that takes long. */
  async recover(): Promise<void> {
    for (const { spec, status } of loadWorkloads(this.#at.home)) {
      this.#all.set(spec.id, openWorkload(this.#at, spec, status))
    }
    const known = [...this.#all.values()]
    if (!(await within(TAKING_UP, Promise.all(known.map(adopt)))))
      this.#at.log(`${known.filter((w) => w.adopting).length} machines do not answer yet`)
    const leaving = known.filter((w) => w.spec.remove)
    // what is still "created" was to be started by a command that is gone
    const over = leaving.filter((w) => w.status.state === 'exited' || w.status.state === 'created')
    await Promise.all(over.map((w) => this.forget(w)))
    for (const workload of leaving) if (!over.includes(workload)) this.#forgetAtEnd(workload)
  }

  #forgetAtEnd(workload: Workload): void {
    void waitExit(workload)
      .then(() => this.forget(workload))
      .catch((error: unknown) => this.#at.log(`remove ${workload.spec.name}: ${reasonOf(error)}`))
  }

  /** Starts what should always run; call it when strays are gone and the pool may fill. */
  resume(): void {
    for (const workload of this.#all.values()) resumePolicy(workload)
  }

  /** By id, unique beginning of an id, or name. */
  find(ref: string): Workload {
    const known = [...this.#all.values()].filter((w) => !w.removed)
    const exact = known.find((w) => w.spec.id === ref) ?? known.find((w) => w.spec.name === ref)
    if (exact) return exact
    const begins = known.filter((w) => w.spec.id.startsWith(ref))
    // "rm -f db" is to find what is called so, or nothing
    const enough = ref.length >= LEAST_OF_ID
    if (begins.length === 1 && enough) return begins[0]!
    throw new ZosError(
      begins.length > 0
        ? `Find workload "${ref}": ${begins.length > 1 ? `${begins.length} ids begin` : 'an id begins'} so; write ${enough ? 'more' : `at least ${LEAST_OF_ID} digits`} of it`
        : `Find workload "${ref}": there is none of that name or id; "zos ps -a" lists them`,
      { code: 'no-such-workload' },
    )
  }

  #taken(name: string): boolean {
    return this.#reserved.has(name) || [...this.#all.values()].some((w) => !w.removed && w.spec.name === name)
  }

  #checkFree(name: string): void {
    checkName(name)
    if (this.#taken(name)) {
      throw new ZosError(`Name workload "${name}": another one has this name; "zos rm ${name}" first`, {
        code: 'name-taken',
      })
    }
  }

  /** Creates a workload from a request and its image; not started. */
  async create(request: RunRequest, image: { digest: string; config: ImageConfig }): Promise<Workload> {
    if (request.name !== undefined) this.#checkFree(request.name)
    const name = request.name ?? newName((n) => this.#taken(n))
    const spec = resolveSpec(request, image, { id: newId(), name, createdAt: new Date().toISOString() })
    this.#reserved.add(name)
    try {
      await saveSpec(this.#at.home, spec)
      const workload = openWorkload(this.#at, spec)
      this.#all.set(spec.id, workload)
      if (spec.remove) this.#forgetAtEnd(workload)
      return workload
    } finally {
      this.#reserved.delete(name)
    }
  }

  /** Gives it another name, in whatever state it is: on disk first. */
  async rename(ref: string, name: string): Promise<void> {
    const workload = this.find(ref)
    this.#checkFree(name)
    if (workload.spec.network) {
      throw new ZosError(`Rename workload "${workload.spec.name}": its name on the overlay is agreed on by its group`, {
        code: 'name-fixed',
      })
    }
    this.#reserved.add(name)
    try {
      await saveSpec(this.#at.home, { ...workload.spec, name })
      workload.spec.name = name
    } finally {
      this.#reserved.delete(name)
    }
  }

  async remove(ref: string, how: Removal): Promise<void> {
    await this.forget(this.find(ref), how)
  }

  /** Removes it and its own volumes, or as HOW says, or waits until it is. */
  async forget(workload: Workload, how: Removal = { force: true, volumes: true }): Promise<void> {
    await remove(workload, how)
    this.#all.delete(workload.spec.id)
  }

  /** Machines in use. */
  records(): unknown[] {
    return [...this.#all.values()].map((w) => w.status.machine).filter((r) => r !== null)
  }

  /** Manifests that workloads were made from. */
  digests(): string[] {
    return [...new Set([...this.#all.values()].map((w) => w.spec.digest))]
  }

  list(): Workload[] {
    return [...this.#all.values()].sort((a, b) => (a.spec.createdAt < b.spec.createdAt ? 1 : -1))
  }

  views(): WorkloadView[] {
    return this.list()
      .filter((w) => !w.removed)
      .map(view)
  }
}
