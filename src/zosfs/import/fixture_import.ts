import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { openStore, startWorkers } from '#cas'
import { list, pieces } from '#zosfs'
import { diskFacts } from '../flist/disk_facts.ts'
import type { Manifest } from '../types.ts'
import { finishTree } from './canonical.ts'
import { type ImageOptions, ociLayout, type TarEntry, tar } from './fixture_image.ts'
import { importLayers, readImage } from './layout.ts'
import { openSink, type Sink } from './sink.ts'
import { openSpool } from './spool.ts'
import type { Tree } from './tree.ts'

export const root = mkdtempSync(join(tmpdir(), 'zos-import-'))
const workers = startWorkers(1)
const store = openStore({ dir: join(root, 'cas'), workers })
after(async () => {
  await workers.close()
  rmSync(root, { recursive: true })
})

export const text = (s: string) => Buffer.from(s)
let count = 0

export async function finished(read: (sink: Sink) => Promise<Tree>): Promise<Manifest> {
  using spool = openSpool(join(root, 'tmp'), 64) // small: most files go through its file
  const sink = openSink(store, spool)
  const parts = await finishTree(await read(sink), sink)
  const put = async (bytes: Buffer) => (await store.put(bytes)).id
  const disk = await diskFacts(parts, (id) => sink.leaves.get(id.toString('latin1'))!, put)
  return { synthesiser: 2, ...parts, config: text('{}'), layers: [], disk, startClosure: [] }
}

/** The manifest of an image of these layers. */
export async function image(layers: (TarEntry[] | Buffer)[], options: ImageOptions = {}): Promise<Manifest> {
  const dir = join(root, `oci-${count++}`)
  ociLayout(
    dir,
    layers.map((l) => (Buffer.isBuffer(l) ? l : tar(l))),
    options,
  )
  return finished(async (sink) => importLayers(dir, await readImage(dir, 'amd64'), sink))
}

export const names = (m: Manifest) =>
  list(m)!
    .map(({ path }) => path)
    .slice(1)

export async function contentOf(m: Manifest, path: string): Promise<Buffer> {
  const index = list(m)!.findIndex((e) => e.path === path)
  const parts: Buffer[] = []
  for await (const piece of pieces(store.get, m, index))
    parts.push('hole' in piece ? Buffer.alloc(piece.hole) : piece.bytes)
  return Buffer.concat(parts)
}

export const lower: TarEntry[] = [
  { name: 'd/' },
  { name: 'd/old', data: text('old') },
  { name: 'd/sub/' },
  { name: 'd/sub/older', data: text('older') },
  { name: 'b', data: text('b') },
  { name: 'c', type: '1', link: 'b' },
]
