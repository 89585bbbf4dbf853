// Any bit of anything a start needs: the script, its interpreter, the linker, a library; in the cache, and at the hub as well.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { open } from '#cas'
import { run } from '#sys'
import { loadManifest, openLibrary, pathOf, publish } from '#zosfs'
import { chunksOf } from './check.ts'
import { chunkFile, node, put, top } from './storage.fixture.ts'

const ROUNDS = process.env.ZOS_NIGHTLY === '1' ? 100 : 8

/** Publishes a script whose interpreter is a program of this machine with its libraries: which chunk is of which file. */
async function published(hub: string) {
  const tree = join(top, 'start-path')
  const linked = (await run('ldd', ['/bin/cat'])).stdout.toString().matchAll(/(\/\S+) \(0x/g)
  for (const path of ['/bin/cat', ...[...linked].map((found) => found[1]!)]) {
    mkdirSync(join(tree, dirname(path)), { recursive: true })
    copyFileSync(realpathSync(path), join(tree, path))
  }
  writeFileSync(join(tree, 'go'), '#!/bin/cat\n')
  chmodSync(join(tree, 'go'), 0o755)
  await using library = openLibrary({ home: join(top, 'start-origin'), hub: `dir:${hub}` })
  const { digest } = await publish(library, `dir:${tree}`, 'script')
  const manifest = await loadManifest(library.store, digest)
  const paths = new Map<string, string[]>()
  for (const [n, entry] of manifest.entries.entries())
    if (entry.type === 'file')
      for (const id of chunksOf({ manifest } as Parameters<typeof chunksOf>[0], n))
        paths.set(id.toString('hex'), [...(paths.get(id.toString('hex')) ?? []), pathOf(manifest.entries, n)])
  return { digest, paths }
}

/** Flips a bit of FILE that is of consequence: zstd has some that change nothing. What the page cache has of it goes, too. */
async function flipIn(file: string, id: string): Promise<void> {
  for (;;) {
    const bytes = readFileSync(file)
    bytes[randomInt(bytes.length)]! ^= 1 << randomInt(8)
    if (open(id, bytes).ok) continue
    writeFileSync(file, bytes, { flush: true })
    await run('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none'])
    return
  }
}

test('a bit of any file on the start path: healed from the hub; where that has it flipped too, the start is refused by name', async () => {
  const hub = join(top, 'start-hub')
  const { digest, paths } = await published(hub)
  assert.ok(paths.size >= 10, `${paths.size} chunks`)
  await using n = await node({ hub: `dir:${hub}` })
  await put(n, 'vm-1')
  await n.call('POST', '/exports/vm-1/bind', { digest })
  const check = () =>
    n.call<{ files: number }>('POST', '/exports/vm-1/check', { argv: ['/go'], env: ['PATH=/bin'], cwd: '/' })
  const { files } = await check()
  assert.ok(files >= 4, `${files} files: the script, cat, its linker and a library at least`)
  const ids = [...paths.keys()]
  for (let round = 0; round < ROUNDS; round++) {
    const id = ids[randomInt(ids.length)]!
    const [here, there] = [chunkFile(join(n.home, 'cas'), id), chunkFile(hub, id)]
    const good = readFileSync(there)
    await flipIn(here, id)
    assert.equal((await check()).files, files)
    assert.deepEqual(readFileSync(here), good, 'healed')

    for (const file of [here, there]) await flipIn(file, id)
    await assert.rejects(check(), (error: Error & { code: string; details: Record<string, string> }) => {
      assert.equal(error.code, 'launch-check', error.message)
      assert.ok(paths.get(id)!.includes(error.details.path!), `${error.message}: ${paths.get(id)}`)
      assert.deepEqual([error.details.expected, error.details.found === id], [id, false])
      return true
    })
    for (const file of [here, there]) writeFileSync(file, good)
    assert.equal((await check()).files, files)
  }
})
