import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { writeAtomic } from '#sys'
import { createVolume, DISK_SIZE, growVolume } from '#vm'

/** Bytes a new volume can hold; the file is sparse, so only what is written costs. */
const DEFAULT_SIZE = 16 * 2 ** 30
/** A volume is waited for while the workload that holds it is ending. */
const HANDOVER = 30_000
/** Who holds a volume while a command changes it, with a number behind: in place of a workload's id. */
const COMMAND = 'command '

/** WORKLOAD: the id of one that has it mounted, or would when it is started again. */
export type VolumeView = { name: string; size: number; used: number; created: string; workload: string | null }

/** A guest takes every disk for DISK_SIZE bytes (args.ts) and mounts no file system that is larger than its disk. */
const tooLarge = (action: string, name: string, size: number): ZosError =>
  new ZosError(`${action} volume "${name}": ${size} bytes are more than a machine's disk may have, ${DISK_SIZE} (1t)`, {
    code: 'bad-volume-size',
  })

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/
/** What volumes are called that nobody gave a name. */
const ANONYMOUS = /^[0-9a-f]{64}$/

/** Makes the volume in the file PATH SIZE bytes large. */
type Growth = (path: string, size: number) => Promise<void>

/** The workloads, as far as volumes have to know of them; by their ids. */
export type VolumeUsers = {
  /** Whether WORKLOAD is on its way out, so that waiting for its volumes makes sense. */
  isEnding(workload: string): boolean
  /** Grows the volume NAME in the file PATH, which WORKLOAD uses. */
  growInUse(workload: string, name: string, path: string, size: number): Promise<void>
  /** What people call WORKLOAD. */
  nameOf(workload: string): string
  /** A workload that is made with VOLUME, whether it runs or not, other than EXCEPT. */
  usedBy(volume: string, except?: string): string | undefined
}

const NOBODY: Readonly<VolumeUsers> = {
  isEnding: () => false,
  growInUse: () => Promise.reject(new Error('no engine')),
  nameOf: (workload) => workload,
  usedBy: () => undefined,
}

type Holder = {
  /** Its id. */
  workload: string
  released: Promise<void>
  release: () => void
  /** The last growth that was asked for under it. */
  grown: Promise<void>
}

/** Named volumes: ext4 in sparse files, one writer at a time. */
export class Volumes {
  readonly #dir: string
  readonly #held = new Map<string, Holder>()

  #commands = 0

  /** Set by the engine, which is made with these volumes. */
  users: Readonly<VolumeUsers> = NOBODY

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

  /** Makes NAME of SIZE bytes, or leaves the one that is there. */
  async create(name: string, size?: number): Promise<void> {
    if (!NAME.test(name))
      throw new ZosError(`Make volume "${name}": letters, digits, "_", "." and "-" are allowed, at most 128`, {
        code: 'bad-name',
      })
    const there = () => this.list().find((v) => v.name === name)?.size
    if (there() === undefined)
      await this.#alone('Make', name, async () => {
        if (there() !== undefined) return
        if (size !== undefined && size > DISK_SIZE) throw tooLarge('Make', name, size)
        await createVolume(this.#path(name), size ?? DEFAULT_SIZE)
      })
    const has = there()
    if (size === undefined || has === size) return
    throw new ZosError(
      `Make volume "${name}": there is one already, of ${has} bytes; "zos volume grow" makes it larger`,
      {
        code: 'volume-exists',
      },
    )
  }

  /** Makes missing volumes, grows those that are to be larger, and holds them for WORKLOAD; all or none. */
  async acquire(
    workload: string,
    volumes: readonly { source: string; readOnly: boolean; size?: number }[],
  ): Promise<{ path: string; readOnly: boolean }[]> {
    const taken: string[] = []
    try {
      for (const { source } of volumes) {
        if (this.#held.get(source)?.workload === workload) continue
        await this.#handedOver('Mount', source, workload)
        taken.push(source)
      }
      for (const { source, size } of volumes) {
        const path = this.#path(source)
        if (size !== undefined && size > DISK_SIZE) throw tooLarge('Make', source, size)
        if (!existsSync(path)) await createVolume(path, size ?? DEFAULT_SIZE)
        // what is larger already stays so: volumes do not shrink
        else if (this.#isShort(source, size ?? 0)) await this.#enlarge(source, size ?? 0)
      }
    } catch (error) {
      for (const name of taken) this.release(workload, name)
      throw error
    }
    return volumes.map(({ source, readOnly }) => ({ path: this.#path(source), readOnly }))
  }

  /** Settles when nobody holds NAME, and NEXT does. A holder on its way out is waited for; any other makes ACTION fail. */
  async #handedOver(action: string, name: string, next?: string): Promise<void> {
    for (let holder = this.#held.get(name); holder; holder = this.#held.get(name)) {
      const timer = new Promise<'late'>((resolve) => setTimeout(() => resolve('late'), HANDOVER).unref())
      if (this.#leaves(holder.workload) && (await Promise.race([holder.released, timer])) !== 'late') continue
      throw new ZosError(
        `${action} volume "${name}": workload "${this.users.nameOf(holder.workload)}" uses it; stop that one first`,
        {
          code: 'volume-in-use',
        },
      )
    }
    // at once: several may have waited
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    if (next !== undefined) this.#held.set(name, { workload: next, released, release, grown: Promise.resolve() })
  }

  /** ACT on a volume that nobody else has meanwhile. */
  async #alone<T>(action: string, name: string, act: () => T): Promise<Awaited<T>> {
    const command = `${COMMAND}${++this.#commands}`
    await this.#handedOver(action, name, command)
    try {
      return await act()
    } finally {
      this.release(command)
    }
  }

  #leaves(workload: string): boolean {
    return workload.startsWith(COMMAND) || this.users.isEnding(workload)
  }

  /** What WORKLOAD holds is free for others; with ONLY that one volume. */
  release(workload: string, only?: string): void {
    for (const [name, holder] of this.#held) {
      if (holder.workload !== workload || (only !== undefined && name !== only)) continue
      this.#held.delete(name)
      holder.release()
    }
  }

  list(): VolumeView[] {
    return readdirSync(this.#dir)
      .filter((f) => f.endsWith('.ext4'))
      .map((file) => {
        const name = file.slice(0, -'.ext4'.length)
        const { size, blocks, birthtime } = statSync(join(this.#dir, file))
        const holder = this.#held.get(name)?.workload
        const workload = (holder?.startsWith(COMMAND) ? undefined : holder) ?? this.users.usedBy(name) ?? null
        return { name, size, used: blocks * 512, created: birthtime.toISOString(), workload }
      })
  }

  find(name: string): VolumeView & { path: string } {
    const found = this.list().find((v) => v.name === name)
    if (found) return { ...found, path: this.#path(name) }
    throw new ZosError(`Find volume "${name}": there is none of that name; "zos volume ls" lists them`, {
      code: 'no-such-volume',
    })
  }

  /** Removes it, unless a workload is made with it; with NAMED only one that has it mounted keeps it. */
  async remove(name: string, options: { named?: boolean } = {}): Promise<void> {
    await this.#alone('Remove', name, () => {
      this.find(name)
      const workload = options.named ? undefined : this.users.usedBy(name)
      if (workload === undefined) return this.#delete(name)
      throw new ZosError(
        `Remove volume "${name}": workload "${this.users.nameOf(workload)}" is made with it; "zos rm" that one first`,
        {
          code: 'volume-in-use',
        },
      )
    })
  }

  /** Removes it if it is there and no workload but BY is made with it. */
  removeFree(name: string, by: string): void {
    if (!this.#held.has(name) && this.users.usedBy(name, by) === undefined) this.#delete(name)
  }

  /** Removes those that no workload is made with: without ALL only such as nobody gave a name. Says which went. */
  async prune(all: boolean): Promise<VolumeView[]> {
    // those that a workload which is ending holds are free in a moment
    const leaving = [...this.#held].filter(([, { workload }]) => this.#leaves(workload))
    await Promise.all(leaving.map(([name]) => this.#handedOver('Remove', name).catch(() => {})))
    const gone = this.list().filter(
      ({ name, workload }) => workload === null && !this.#held.has(name) && (all || ANONYMOUS.test(name)),
    )
    for (const { name } of gone) this.#delete(name)
    return gone
  }

  #delete(name: string): void {
    for (const path of [this.#path(name), this.#growing(name)]) rmSync(path, { force: true })
  }

  /** Grows to SIZE bytes, also under a workload that goes on; never shrinks. */
  async grow(name: string, size: number): Promise<void> {
    const grown = (how: Growth) => {
      const now = this.find(name).size
      if (size > DISK_SIZE) throw tooLarge('Grow', name, size)
      if (size >= now) return this.#enlarge(name, size, how)
      throw new ZosError(`Grow volume "${name}": it holds ${now} bytes already, and volumes do not shrink`, {
        code: 'volume-shrink',
      })
    }
    try {
      return await this.#alone('Grow', name, () => grown(growVolume))
    } catch (error) {
      if (codeOf(error) !== 'volume-in-use') throw error
    }
    const holder = this.#held.get(name)
    // let go of, or taken by another one, meanwhile
    if (!holder) return this.grow(name, size)
    const turn = holder.grown
      .catch(() => {})
      .then(async () => {
        if (this.#held.get(name) !== holder) return this.grow(name, size)
        await grown((path, to) => this.users.growInUse(holder.workload, name, path, to))
      })
    holder.grown = turn
    await turn
  }

  #isShort(name: string, size: number): boolean {
    return statSync(this.#path(name)).size < size || existsSync(this.#growing(name))
  }

  /** To SIZE bytes, or to what it was to become when it was last interrupted. */
  async #enlarge(name: string, size: number, grow: Growth = growVolume): Promise<void> {
    const path = this.#path(name)
    await writeAtomic(this.#growing(name), '')
    await grow(path, Math.max(size, statSync(path).size))
    rmSync(this.#growing(name))
  }
}
