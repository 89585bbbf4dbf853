import { reasonOf, ZosError } from '#codec'
import type { ImageView } from '#wire'
import { checkTagName, listTags, openLibrary, removeTag, resolveTag } from '#zosfs'
import type { ImageConfig } from '../compute/spec.ts'
import type { StoragePlane } from './storage-client.ts'

export type Images = {
  /** The manifest a name means now, and how it starts; throws `unknown-image` when nobody published it. */
  resolve: (name: string) => Promise<{ digest: string; config: ImageConfig }>
  /** Forgets a name, here and at the hub; workloads made from it go on. `unknown-image` when there is none. */
  remove: (name: string) => Promise<void>
  list: () => Promise<(ImageView & { error?: string })[]>
}

function isTagName(name: string): boolean {
  try {
    checkTagName(name)
    return true
  } catch {
    return false
  }
}

/** Names as this home and its hub know them; contents are asked of the storage plane. */
export function openImages(at: { home: string; hub: string | undefined; storage: StoragePlane }): Images {
  const library = openLibrary({ home: at.home, hub: at.hub })
  return {
    async resolve(name) {
      const tag = isTagName(name) ? await resolveTag(library, name) : undefined
      if (!tag) throw new ZosError(`Run "${name}": nothing of that name was published`, { code: 'unknown-image' })
      return { digest: tag.digest, config: await at.storage.image(tag.digest) }
    },
    async remove(name) {
      if (!isTagName(name) || !(await removeTag(library, name)))
        throw new ZosError(`Remove image "${name}": nothing of that name was published`, { code: 'unknown-image' })
    },
    async list() {
      return (await listTags(library)).map((entry) => {
        if (!('tag' in entry))
          return { name: entry.name, digest: '', root: '', size: 0, created: '', error: reasonOf(entry.error) }
        const { name, digest, root, size, issued } = entry.tag
        return { name, digest, root, size, created: new Date(issued * 1000).toISOString() }
      })
    },
  }
}
