import { ZosError } from '#codec'
import type { RunRequest, WorkloadView } from '#wire'
import { adopt, resumePolicy } from './adopt.ts'
import { checkName, newId, newName } from './names.ts'
import { type ImageConfig, resolveSpec } from './spec.ts'
import { remove } from './stop.ts'
import { loadWorkloads, saveSpec } from './store.ts'
import { openWorkload, type Surroundings, view, type Workload } from './workload.ts'

/** All workloads of this node. */
export class Engine {
  readonly #at: Surroundings
  readonly #all = new Map<string, Workload>()
  /** Names of workloads that are being created. */
  readonly #reserved = new Set<string>()

  constructor(at: Surroundings) {
    this.#at = at
    at.volumes.ending = (id) => this.#all.get(id)?.ending ?? false
  }

  /** Loads what is on disk and takes up what still runs. */
  async recover(): Promise<void> {
    for (const { spec, status } of loadWorkloads(this.#at.home)) {
      this.#all.set(spec.id, openWorkload(this.#at, spec, status))
    }
    await Promise.all([...this.#all.values()].map(adopt))
    await Promise.all(
      [...this.#all.values()]
        // what is still "created" was to be started by a command that is gone
        .filter((w) => w.spec.remove && (w.status.state === 'exited' || w.status.state === 'created'))
        .map((w) => this.remove(w.spec.id, true)),
    )
  }

  /** Starts what should always run; call it when strays are gone and the pool may fill. */
  resume(): void {
    for (const workload of this.#all.values()) resumePolicy(workload)
  }

  /** By id, unique beginning of an id, or name. */
  find(ref: string): Workload {
    const exact = this.#all.get(ref) ?? [...this.#all.values()].find((w) => w.spec.name === ref)
    if (exact) return exact
    const begins = ref.length >= 4 ? [...this.#all.values()].filter((w) => w.spec.id.startsWith(ref)) : []
    if (begins.length === 1) return begins[0]!
    throw new ZosError(
      begins.length > 1
        ? `Find workload "${ref}": ${begins.length} ids begin so; write more of it`
        : `Find workload "${ref}": there is none of that name or id; "zos ps -a" lists them`,
      { code: 'no-such-workload' },
    )
  }

  /** Creates a workload from a request and its image; not started. */
  async create(request: RunRequest, image: { digest: string; config: ImageConfig }): Promise<Workload> {
    const taken = (name: string) =>
      this.#reserved.has(name) || [...this.#all.values()].some((w) => w.spec.name === name)
    if (request.name !== undefined) {
      checkName(request.name)
      if (taken(request.name)) {
        throw new ZosError(
          `Name workload "${request.name}": another one has this name; "zos rm ${request.name}" first`,
          { code: 'name-taken' },
        )
      }
    }
    const name = request.name ?? newName(taken)
    const spec = resolveSpec(request, image, { id: newId(), name, createdAt: new Date().toISOString() })
    this.#reserved.add(name)
    try {
      await saveSpec(this.#at.home, spec)
      const workload = openWorkload(this.#at, spec)
      this.#all.set(spec.id, workload)
      return workload
    } finally {
      this.#reserved.delete(name)
    }
  }

  async remove(ref: string, force: boolean): Promise<void> {
    const workload = this.find(ref)
    await remove(workload, force)
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
    return this.list().map(view)
  }
}
