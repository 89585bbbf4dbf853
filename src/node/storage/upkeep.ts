import {
  type ChunkBackend,
  type Collected,
  collect,
  homeOf,
  type Recompressed,
  recompress,
  type ScrubReport,
  scrub,
  type Usage,
  usage,
} from '#cas'
import { codeOf, reasonOf, ZosError } from '#codec'
import { type Library, listTags, manifestsIn, reachable } from '#zosfs'

/** Ids of all that tags name and that the manifests in USE need. */
async function* live(library: Library, inUse: Iterable<string>): AsyncGenerator<string> {
  const digests = new Set(inUse)
  for (const listed of await listTags(library)) {
    if (!('tag' in listed)) {
      throw new ZosError(
        `Collect garbage: "${listed.name}" cannot be read, so nobody knows what it needs: ${reasonOf(listed.error)}; ` +
          'publish it again or remove it',
        { code: 'gc-unsure', details: { name: listed.name } },
      )
    }
    digests.add(listed.tag.digest)
  }
  for (const digest of digests) yield* reachable(library.store, digest)
}

/** Ids of what the hub's manifests need; with UNTAGGED only of those that its tags name or that are in USE. */
async function* liveAtHub(library: Library, hub: ChunkBackend, inUse: Iterable<string>, untagged: boolean) {
  if (untagged) yield* live(library, inUse)
  else for await (const digest of manifestsIn(library.store, hub)) yield* reachable(library.store, digest)
}

/**
 * Removes from the hub, which must be a folder, what no manifest there needs: what broken-off publishes left. With UNTAGGED
 * also manifests without a tag, which a deployment or another node may still name: only for who knows that none does.
 */
export async function collectHub(
  library: Library,
  inUse: Iterable<string>,
  options: { grace?: number | undefined; untagged: boolean },
): Promise<Collected> {
  const { hub } = library.store
  if (!hub?.direct) {
    throw new ZosError(
      `Collect garbage at the hub "${hub?.label ?? 'none'}": it is no folder of this machine; run this where it is, with ZOS_HUB=dir:PATH`,
      { code: 'no-folder' },
    )
  }
  const { grace, untagged } = options
  const kept = liveAtHub(library, hub, inUse, untagged)
  return collect(library.store, kept, { backend: hub, ...(grace === undefined ? {} : { grace }) })
}

/** Removes from the local store what no tag and no export needs; GRACE in milliseconds. */
export const collectGarbage = (library: Library, inUse: Iterable<string>, grace?: number): Promise<Collected> =>
  collect(library.store, live(library, inUse), grace === undefined ? {} : { grace })

/** Makes what was published as small as it gets, now and without rests. */
export const recompressStore = (library: Library): Promise<Recompressed> => recompress(homeOf(library.store))

export const scrubStore = (library: Library): Promise<ScrubReport> => scrub(library.store)

/** What is kept here and at the hub; why the hub could not be asked, where it could not. */
export async function storeStat(
  library: Library,
): Promise<{ dir: string; local: Usage; hub?: ({ label: string } & Usage) | { label: string; away: string } }> {
  const { dir, local, hub } = library.store
  const here = { dir, local: await usage(local) }
  if (!hub) return here
  const there = await usage(hub).catch((error) => {
    if (codeOf(error) !== 'source-away') throw error
    return { away: reasonOf(error) }
  })
  return { ...here, hub: { label: hub.label, ...there } }
}
