import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { writeAtomic } from '#sys'
import { createVolume, growVolume } from '#vm'

/** Bytes a new volume can hold; the file is sparse, so only what is written costs. */
const DEFAULT_SIZE = 16 * 2 ** 30
/** A volume is waited for while the workload that holds it is ending. */
const HANDOVER = 30_000

/** WORKLOAD: the id of one that has it mounted, or would when it is started again. */
export type VolumeView = { name: string; size: number; used: number; workload: string | null }

/** What volumes are called that nobody gave a name. */
const ANONYMOUS = /^[0-9a-f]{64}$/

/** Named volumes: ext4 in sparse files, one writer at a time. */
export class Volumes {
  readonly #dir: string
  readonly #held = new Map<string, { workload: string; released: Promise<void>; release: () => void }>()

  constructor(home: string) {
    this.#dir = join(home, 'volumes')
    mkdirSync(this.#dir, { recursive: true, mode: 0o711 })
  }

  #path(name: string): string {
    return join(this.#dir, `${name}.ext4`)
  }

  /** While a volume grows: killed in between, its file is larger than its file system. */
  #growing(name: string): string {
    return join(this.#dir, `${name}.growing`)
  }

  /** Makes missing volumes, grows those that are to be larger, and holds them for WORKLOAD; all or none. */
  async acquire(
    workload: string,
    volumes: readonly { source: string; readOnly: boolean; size?: number }[],
  ): Promise<{ path: string; readOnly: boolean }[]> {
    for (const { source } of volumes) {
      const holder = this.#held.get(source)
      if (!holder || holder.workload === workload) continue
      const timer = new Promise<'late'>((resolve) => setTimeout(() => resolve('late'), HANDOVER).unref())
      const ending = this.ending(holder.workload)
      if (!ending || (await Promise.race([holder.released, timer])) === 'late') {
        throw new ZosError(`Mount volume "${source}": workload "${holder.workload}" uses it; stop that one first`, {
          code: 'volume-in-use',
        })
      }
    }
    for (const { source } of volumes) {
      if (this.#held.has(source)) continue
      let release = () => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      this.#held.set(source, { workload, released, release })
    }
    try {
      for (const { source, size } of volumes) {
        const path = this.#path(source)
        if (!existsSync(path)) await createVolume(path, size ?? DEFAULT_SIZE)
        // what is larger already stays so: volumes do not shrink
        else if (this.#isShort(source, size ?? 0)) await this.#enlarge(source, size ?? 0)
      }
    } catch (error) {
      this.release(workload)
      throw error
    }
    return volumes.map(({ source, readOnly }) => ({ path: this.#path(source), readOnly }))
  }

  /** Whether WORKLOAD is on its way out, so that waiting for its volumes makes sense. Set by the engine. */
  ending: (workload: string) => boolean = () => false

  /** The id of a workload that is made with VOLUME, whether it runs or not, other than EXCEPT. Set by the engine. */
  usedBy: (volume: string, except?: string) => string | undefined = () => undefined

  release(workload: string): void {
    for (const [name, holder] of this.#held) {
      if (holder.workload !== workload) continue
      this.#held.delete(name)
      holder.release()
    }
  }

  list(): VolumeView[] {
    return readdirSync(this.#dir)
      .filter((f) => f.endsWith('.ext4'))
      .map((file) => {
        const name = file.slice(0, -'.ext4'.length)
        const { size, blocks } = statSync(join(this.#dir, file))
        const workload = this.#held.get(name)?.workload ?? this.usedBy(name) ?? null
        return { name, size, used: blocks * 512, workload }
      })
  }

  #existing(name: string): string {
    const found = this.list().find((v) => v.name === name)
    if (!found)
      throw new ZosError(`Find volume "${name}": there is none of that name; "zos volume ls" lists them`, {
        code: 'no-such-volume',
      })
    return this.#path(name)
  }

  #free(name: string, action: string): string {
    const path = this.#existing(name)
    const holder = this.#held.get(name)
    if (holder) {
      throw new ZosError(`${action} volume "${name}": workload "${holder.workload}" uses it; stop that one first`, {
        code: 'volume-in-use',
      })
    }
    return path
  }

  /** Removes it, unless a workload is made with it; with NAMED only one that has it mounted keeps it. */
  remove(name: string, options: { named?: boolean } = {}): void {
    this.#free(name, 'Remove')
    const workload = options.named ? undefined : this.usedBy(name)
    if (workload !== undefined) {
      throw new ZosError(`Remove volume "${name}": workload "${workload}" is made with it; "zos rm" that one first`, {
        code: 'volume-in-use',
      })
    }
    this.#delete(name)
  }

  /** Removes it if it is there and no workload but BY is made with it. */
  removeFree(name: string, by: string): void {
    if (!this.#held.has(name) && this.usedBy(name, by) === undefined) this.#delete(name)
  }

  /** Removes those that no workload is made with: without ALL only such as nobody gave a name. Says which went. */
  prune(all: boolean): VolumeView[] {
    const gone = this.list().filter((v) => v.workload === null && (all || ANONYMOUS.test(v.name)))
    for (const { name } of gone) this.#delete(name)
    return gone
  }

  #delete(name: string): void {
    for (const path of [this.#path(name), this.#growing(name)]) rmSync(path, { force: true })
  }

  /** Grows to SIZE bytes; never shrinks. */
  async grow(name: string, size: number): Promise<void> {
    const path = this.#free(name, 'Grow')
    const now = statSync(path).size
    if (size < now) {
      throw new ZosError(`Grow volume "${name}": it holds ${now} bytes already, and volumes do not shrink`, {
        code: 'volume-shrink',
      })
    }
    await this.#enlarge(name, size)
  }

  #isShort(name: string, size: number): boolean {
    return statSync(this.#path(name)).size < size || existsSync(this.#growing(name))
  }

  /** To SIZE bytes, or to what it was to become when it was last interrupted. */
  async #enlarge(name: string, size: number): Promise<void> {
    const path = this.#path(name)
    await writeAtomic(this.#growing(name), '')
    await growVolume(path, Math.max(size, statSync(path).size))
    rmSync(this.#growing(name))
  }
}
