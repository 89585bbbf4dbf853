import { ZosError } from '#codec'
import { type ChunkCache, type Disk, type Library, loadManifest, type Manifest, openDisk } from '#zosfs'

/** A published tree, ready to be served. */
export type Image = { digest: string; manifest: Manifest; disk: Disk; config: unknown; files: number; size: number }

export type Images = {
  /** The image DIGEST (hex), opened once however many serve it. */
  get(digest: string): Promise<Image>
  stat(): { open: number; entries: number }
}

/** Entries of all images kept ready in memory, about 500 bytes each; those of running workloads come on top. */
const KEPT_ENTRIES = 200_000

/** Opens images of LIBRARY over CACHE and keeps the latest ready. */
export function openImages(library: Library, cache: ChunkCache): Images {
  const open = new Map<string, { image: Promise<Image>; entries: number }>()
  const held = () => [...open.values()].reduce((sum, { entries }) => sum + entries, 0)

  const load = async (digest: string): Promise<Image> => {
    if (!/^[0-9a-f]{64}$/.test(digest)) {
      throw new ZosError(`Open image "${digest}": not a digest of 64 hex digits`, { code: 'bad-digest' })
    }
    const manifest = await loadManifest(library.store, digest)
    let files = 0
    let size = 0
    for (const entry of manifest.entries) {
      if (entry.type !== 'file') continue
      files++
      size += entry.size
    }
    const config: unknown = JSON.parse(manifest.config.toString() || '{}')
    return { digest, manifest, disk: openDisk(manifest, cache), config, files, size }
  }

  return {
    get(digest) {
      const known = open.get(digest)
      if (known) {
        open.delete(digest)
        open.set(digest, known)
        return known.image
      }
      const mine = { image: load(digest), entries: 0 }
      open.set(digest, mine)
      mine.image.then(
        ({ manifest }) => {
          mine.entries = manifest.entries.length
          for (const oldest of open.keys()) {
            if (held() <= KEPT_ENTRIES || oldest === digest) break
            open.delete(oldest)
          }
        },
        () => open.delete(digest),
      )
      return mine.image
    },
    stat: () => ({ open: open.size, entries: held() }),
  }
}
