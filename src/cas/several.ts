import { codeOf, ZosError } from '#codec'
import type { ChunkBackend, Stored } from './backend.ts'
import { open } from './stored.ts'

/**
 * Several hubs as one. Reads take the first good copy: one that is away, refuses, lacks the object or holds damaged bytes is passed
 * over. Writes go to all that can be reached, at least one. What is absent at one and unknown at another is `source-away`.
 */
export function severalBackends(hubs: ChunkBackend[]): ChunkBackend {
  if (hubs.length === 1) return hubs[0]!
  const label = hubs.map((h) => h.label).join(',')

  /** What each says, and the first reason why one does not. */
  const ask = async <T>(act: (hub: ChunkBackend) => Promise<T>) => {
    const answers = await Promise.allSettled(hubs.map(act))
    const said = answers.flatMap((a) => (a.status === 'fulfilled' ? [a.value] : []))
    const failed = answers.find((a) => a.status === 'rejected')?.reason as unknown
    if (failed !== undefined && codeOf(failed) !== 'source-away') throw failed
    return { said, failed }
  }
  /** Done at one is done; not done is only known when all say so. */
  const anywhere = async (act: (hub: ChunkBackend) => Promise<boolean>): Promise<boolean> => {
    const { said, failed } = await ask(act)
    if (said.includes(true)) return true
    if (failed !== undefined) throw failed
    return false
  }
  const everywhere = async (act: (hub: ChunkBackend) => Promise<void>): Promise<void> => {
    const { said, failed } = await ask(act)
    if (said.length === 0) throw failed
  }
  return {
    label,
    async get(id) {
      let failed: unknown
      let damaged: Buffer | undefined
      for (const hub of hubs) {
        try {
          const stored = await hub.get(id)
          if (stored && open(id, stored).ok) return stored
          damaged ??= stored
        } catch (error) {
          if (!['source-away', 'not-authorized'].includes(codeOf(error))) throw error
          failed ??= error
        }
      }
      // whoever asked looks at the bytes too, and says what is wrong with them
      if (damaged) return damaged
      if (failed !== undefined) throw failed
      return undefined
    },
    put: (id, stored) => everywhere((hub) => hub.put(id, stored)),
    has: (id) => anywhere((hub) => hub.has(id)),
    /** Only what every hub that answers has is claimed: else it is written, to those that lack it too. */
    async touch(id) {
      const { said, failed } = await ask((hub) => hub.touch(id))
      if (said.length === 0) throw failed
      return said.every((done) => done)
    },
    delete: (id) => anywhere((hub) => hub.delete(id)),
    deleteOlder: (id, before) => anywhere((hub) => hub.deleteOlder(id, before)),
    async *list() {
      const seen = new Map<string, Stored>()
      for (const hub of hubs)
        for await (const item of hub.list()) {
          const known = seen.get(item.id)
          if (!known || known.mtime < item.mtime) seen.set(item.id, item)
        }
      yield* seen.values()
    },
    flush: () => everywhere((hub) => hub.flush()),
  }
}

/** The parts of a list of hubs, as ZOS_HUB has them. */
export function hubsOf(text: string): string[] {
  const parts = text.split(',').filter((part) => part !== '')
  if (parts.length === 0) throw new ZosError('Open hubs: none is named; set ZOS_HUB', { code: 'bad-hub' })
  return parts
}
