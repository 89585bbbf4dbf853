// usage: scattered.ts DIR COUNT: COUNT reads of 4 KiB scattered over the files below DIR, as many at a time as libuv has
// threads (UV_THREADPOOL_SIZE); prints the seconds they took. A process of its own: the number of threads is read at start.
import { lstatSync, readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

const SIZE = 4096
const [dir, count] = [process.argv[2]!, Number(process.argv[3])]
const AT_ONCE = Number(process.env.UV_THREADPOOL_SIZE)

/** Its own walk: where a file system's listing gives no types, Node's follows symbolic links out of DIR. */
function below(dir: string): { path: string; blocks: number }[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    const facts = lstatSync(path)
    if (facts.isDirectory()) return below(path)
    return facts.isFile() ? [{ path, blocks: Math.floor(facts.size / SIZE) }] : []
  })
}
const files = below(dir).filter(({ blocks }) => blocks >= 16)
const blocks = files.flatMap(({ path, blocks }) => Array.from({ length: blocks }, (_, n) => ({ path, at: n * SIZE })))

const opened = new Map<string, ReturnType<typeof open>>()
const handleOf = (path: string) => {
  const handle = opened.get(path) ?? open(path)
  opened.set(path, handle)
  return handle
}
await Promise.all(files.map(({ path }) => handleOf(path)))
let next = 0
const begun = performance.now()
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    const bytes = Buffer.alloc(SIZE)
    while (next < count) {
      // a prime step, so that all are met in a scattered order
      const { path, at } = blocks[(next++ * 7919) % blocks.length]!
      await (await handleOf(path)).read(bytes, 0, SIZE, at)
    }
  }),
)
console.log((performance.now() - begun) / 1000)
for (const handle of opened.values()) await (await handle).close()
