import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'
import { writeAtomic } from '#sys'

export type Folder = 'tags' | 'rotations' | 'traces' | `signatures/${string}`

/** Small signed documents beside the chunks. Names are any text; each is one file. */
export type Records = {
  readonly label: string
  /** Undefined when there is none; `source-away` when the place cannot be reached. */
  get(folder: Folder, name: string): Promise<Buffer | undefined>
  /** Whole or not at all, and durable. */
  put(folder: Folder, name: string, bytes: Uint8Array | string): Promise<void>
  delete(folder: Folder, name: string): Promise<void>
  list(folder: Folder): Promise<string[]>
}

/** Records are far smaller; what is larger is not one. */
const RECORD_LIMIT = 64 << 10

/** `DIR/FOLDER/NAME`, NAME percent-encoded so that it is always one component. */
export function dirRecords(dir: string): Records {
  const pathOf = (folder: Folder, name: string) => join(dir, folder, encodeURIComponent(name).replace(/^\./, '%2E'))
  const away = (action: string, cause: unknown) =>
    new ZosError(`${action} in "${dir}": ${reasonOf(cause)}`, {
      code: 'source-away',
      kind: 'node',
      details: { dir },
      cause,
    })
  const absent = async (action: string, cause: unknown) => {
    if (codeOf(cause) !== 'ENOENT') throw away(action, cause)
    await stat(dir).catch((error) => {
      throw away(action, error)
    })
  }
  return {
    label: `dir:${dir}`,
    async get(folder, name) {
      try {
        const bytes = await readFile(pathOf(folder, name))
        if (bytes.length > RECORD_LIMIT) throw new Error(`${bytes.length} bytes are no record`)
        return bytes
      } catch (error) {
        await absent(`Read "${folder}/${name}"`, error)
        return undefined
      }
    },
    async put(folder, name, bytes) {
      await writeAtomic(pathOf(folder, name), bytes).catch((error) => {
        throw away(`Write "${folder}/${name}"`, error)
      })
    },
    async delete(folder, name) {
      await rm(pathOf(folder, name), { force: true }).catch((error) => {
        throw away(`Delete "${folder}/${name}"`, error)
      })
    },
    async list(folder) {
      try {
        const names = await readdir(join(dir, folder))
        return names
          .filter((name) => !name.endsWith('.tmp'))
          .map(decodeURIComponent)
          .sort()
      } catch (error) {
        await absent(`List "${folder}"`, error)
        return []
      }
    },
  }
}
