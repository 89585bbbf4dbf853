import {
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
import { reasonOf, ZosError } from '#codec'
import { type Library, listTags, reachable } from '#zosfs'

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

/** Removes from the local store what no tag and no export needs; GRACE in milliseconds. */
export const collectGarbage = (library: Library, inUse: Iterable<string>, grace?: number): Promise<Collected> =>
  collect(library.store, live(library, inUse), grace === undefined ? {} : { grace })

/** Makes what was published as small as it gets, now and without rests. */
export const recompressStore = (library: Library): Promise<Recompressed> => recompress(homeOf(library.store))

export const scrubStore = (library: Library): Promise<ScrubReport> => scrub(library.store)

export async function storeStat(
  library: Library,
): Promise<{ dir: string; local: Usage; hub?: Usage & { label: string } }> {
  const { store } = library
  const hub = store.hub ? { label: store.hub.label, ...(await usage(store.hub)) } : undefined
  return { dir: store.dir, local: await usage(store.local), ...(hub ? { hub } : {}) }
}
