import { reasonOf } from '#codec'
import {
  ensureTemplate,
  findImageTemplate,
  type ImageTemplate,
  makeImageTemplate,
  touchTemplate,
  type UpperTemplate,
  type VmClass,
  type VmHost,
} from '#vm'
import type { Blanks } from './blanks.ts'
import type { Command, MachineRequest, Storage } from './parts.ts'

/** An image that is started again and again in one class, and how it was started last. */
export type Favourite = { vmClass: VmClass; digest: string; command: Command; memory: number }

export type Favourites = {
  /** Notes a start; the image's favourite from the second one on. */
  started: (vmClass: VmClass, request: MachineRequest) => Favourite | undefined
  /** Its template when it was made; never waits for that. */
  find: (favourite: Favourite) => Promise<ImageTemplate | undefined>
  /** Its template, made now when there is none. */
  ensure: (favourite: Favourite) => Promise<ImageTemplate>
}

/** What the guest looks for to find COMMAND's program, links on the way included. */
function namesOf({ argv, env }: Command): string[] {
  const [program = ''] = argv
  if (program.includes('/')) return [program]
  const path = env.findLast((pair) => pair.startsWith('PATH='))?.slice(5) ?? ''
  return path.split(':').map((dir) => `${dir}/${program}`)
}

const REMEMBERED = 64
const RETRY_AFTER = 60_000

/**
 * Images get a template of their own once they are started a second time: making one takes a core for a second, and what
 * is started once gains nothing from it.
 */
export function openFavourites(
  host: VmHost,
  storage: Pick<Storage, 'bind' | 'check'>,
  blanks: Blanks,
  empty: Promise<UpperTemplate>,
  log: (line: string) => void,
): Favourites {
  const seen = new Map<string, { favourite: Favourite; starts: number }>()
  /** Images whose template could not be made, and when that was: they start as before. */
  const refused = new Map<string, number>()
  const isRefused = (digest: string) => performance.now() - (refused.get(digest) ?? -RETRY_AFTER) < RETRY_AFTER

  const make = async ({ vmClass, digest, command, memory }: Favourite): Promise<ImageTemplate> => {
    const base = await ensureTemplate(host, vmClass)
    return blanks.withExport(async (exportId, socket) => {
      const { root, dataBlocks, hashStart } = await storage.bind(exportId, digest)
      // what goes into the template is verified first, as for any start
      const { paths } = await storage.check(exportId, command)
      return makeImageTemplate(host, base, await empty, {
        digest,
        root: socket,
        prepare: (agent) =>
          agent.prepare({
            root: { dataBlocks, hashStart, rootHash: root },
            files: [...paths, ...namesOf(command)],
            memoryLimit: memory,
          }),
      })
    })
  }
  return {
    started(vmClass, { digest, command, memory }) {
      const name = `${vmClass.vcpus}/${vmClass.memoryMiB}/${digest}`
      const known = seen.get(name)
      const favourite = { vmClass, digest, command, memory }
      seen.delete(name)
      seen.set(name, { favourite, starts: (known?.starts ?? 0) + 1 })
      const oldest = seen.keys().next().value
      if (seen.size > REMEMBERED && oldest !== undefined) seen.delete(oldest)
      return known && !isRefused(digest) ? favourite : undefined
    },
    async find({ vmClass, digest }) {
      const found = await findImageTemplate(host, vmClass, digest)
      if (found) await touchTemplate(found)
      return found
    },
    async ensure(favourite) {
      try {
        return (await findImageTemplate(host, favourite.vmClass, favourite.digest)) ?? (await make(favourite))
      } catch (error) {
        refused.set(favourite.digest, performance.now())
        log(`template of image ${favourite.digest.slice(0, 12)}: ${reasonOf(error)}`)
        throw error
      }
    },
  }
}
