import { spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compressedLayerBytes } from '../src/cli/demo/image.ts'
import { filesBelow, ROOT, startNode } from '../test/harness.ts'
import { imageOf } from '../test/workloads/trees.ts'
import { must, podmanFlags } from './peer.ts'
import { debianRoots } from './roots.ts'
import { type Benchmark, median } from './row.ts'
import { storedIn } from './stored-bytes.ts'

/** A year of them. */
const RELEASES = 12
/** Real packages as the application. */
const APP = ['viem', 'zod', 'yaml']

/** What a build from nothing leaves: every time is new, one file in a hundred of the application has another content. */
function buildAnew(tree: string, release: number): void {
  const files = filesBelow(join(tree, 'srv/app')).sort()
  for (let n = release; n < files.length; n += 100) appendFileSync(files[n]!, `\n// release ${release}\n`)
  const day = `@${1_700_000_000 + release * 30 * 86_400}`
  must(spawnSync('find', [tree, '-exec', 'touch', '-h', '-d', day, '{}', '+']), 'touch')
}

/** Layers that more than one image has count once. */
const diskOf = (dir: string) => Number(String(must(spawnSync('du', ['-s', '-B1', dir]), 'du')).split('\t')[0])

export default {
  name: 'stored-releases',
  claim: `bytes stored for ${RELEASES} releases of an image built anew each time, as published`,
  async run() {
    const { python } = await debianRoots(['python'])
    const work = mkdtempSync(join(tmpdir(), 'zos-releases-'))
    using node = startNode()
    const store = join(work, 'podman')
    const storage = `[overlay@${store}/root+${store}/run]localhost/`
    try {
      const tree = join(work, 'tree')
      const app = join(work, 'app')
      must(spawnSync('cp', ['-a', python!, tree]), 'cp')
      for (const name of APP) cpSync(join(ROOT, 'node_modules', name), join(tree, 'srv/app', name), { recursive: true })
      let [registry, shared] = [0, 0]
      const news: number[] = []
      let before = 0
      for (let release = 1; release <= RELEASES; release++) {
        buildAnew(tree, release)
        const image = await imageOf(work, [tree], {})
        const layout = image.slice('oci:'.length, -':1'.length)
        node.ok(['publish', image, `app:${release}`], { timeout: 600 })
        const after = storedIn(node.hub)
        news.push(after - before)
        before = after
        registry += compressedLayerBytes(layout)
        // podman's own pull makes the image's name of the folder's, which has capitals
        must(spawnSync('skopeo', ['copy', '-q', image, `containers-storage:${storage}app:${release}`]), 'skopeo copy')
        // the best that layers can do: the system below is one of them and the same in all releases
        rmSync(app, { recursive: true, force: true })
        cpSync(join(tree, 'srv'), join(app, 'srv'), { recursive: true })
        const layer = await imageOf(work, [app], {})
        const appBytes = compressedLayerBytes(layer.slice('oci:'.length, -':1'.length))
        shared += release === 1 ? compressedLayerBytes(layout) : appBytes
        for (const made of [image, layer]) rmSync(made.slice('oci:'.length, -':1'.length), { recursive: true })
      }
      const ours = before
      const disk = diskOf(join(store, 'root'))
      return {
        ours: ours / 1e6,
        peer: disk / 1e6,
        peerName: 'podman, on its disk',
        unit: 'MB',
        better: 'lower',
        must: 0.1,
        notes: {
          'their compressed layers, as a registry keeps them': `${(registry / 1e6).toFixed(0)} MB, ours is ${(ours / registry).toFixed(2)} of it`,
          'the same with the system below in a layer of its own that never changes': `${(shared / 1e6).toFixed(0)} MB, ours is ${(ours / shared).toFixed(2)} of it`,
          'what a release brings, median of all but the first': `${(median(news.slice(1)) / 1e6).toFixed(2)} MB`,
        },
      }
    } finally {
      spawnSync('podman', [...podmanFlags(store), 'rmi', '-af'])
      spawnSync('umount', [join(store, 'root/overlay')])
      rmSync(work, { recursive: true, force: true })
    }
  },
} satisfies Benchmark
