import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { usage } from '#cas'
import { openLibrary, publish, removeTag, verify } from '#zosfs'
import { collectGarbage, collectHub, storeStat } from './upkeep.ts'

const top = mkdtempSync(join(tmpdir(), 'zos-gc-'))
after(() => rmSync(top, { recursive: true, force: true }))

/** How long publishes and collections run against each other. */
const SECONDS = process.env.ZOS_NIGHTLY === '1' ? 120 : 4

/** A tree most of which tree N - 1 had too. */
function tree(name: string, n: number): string {
  const dir = join(top, name)
  mkdirSync(dir, { recursive: true })
  for (let file = 0; file < 8; file++) {
    const bytes = Buffer.alloc(200_000, `${file === n % 8 ? n : 0} of file ${file},`)
    writeFileSync(join(dir, `f${file}`), bytes)
  }
  return `dir:${dir}`
}

for (const hub of [undefined, join(top, 'hub')]) {
  test(`collections without grace against running publishes: ${hub ? 'hub' : 'local store'}`, {
    timeout: 600_000,
  }, async () => {
    const name = hub ? 'with-hub' : 'alone'
    const options = { home: join(top, name), hub: hub && `dir:${hub}` }
    await using mine = openLibrary(options)
    await using other = openLibrary(options)
    const collectAll = () => (hub ? collectHub(other, [], { grace: 0, untagged: true }) : collectGarbage(other, [], 0))
    const end = Date.now() + SECONDS * 1000
    let running = true
    let removed = 0
    let rounds = 0
    const collecting = (async () => {
      while (running) {
        removed += (await collectAll()).removed
        rounds++
      }
    })()
    let published = 0
    try {
      for (; Date.now() < end || removed === 0 || rounds < 2 || published < 2; published++) {
        const { digest } = await publish(mine, tree(`${name}-tree`, published), 'image')
        assert.deepEqual((await verify(mine.store, digest)).faults, [], `publish ${published}`)
        // what it alone had is free for the collection, and taken up again by later ones
        if (published % 3 === 2) await removeTag(mine, 'image')
      }
    } finally {
      running = false
      await collecting
    }
    assert.ok(
      removed > 0 && rounds > 1 && published > 1,
      `${removed} removed in ${rounds} rounds, ${published} published`,
    )
    const last = await publish(mine, tree(`${name}-tree`, 1), 'image')
    await collectAll()
    assert.deepEqual((await verify(mine.store, last.digest)).faults, [])
    // nothing but the last is left: no object, and no marker of a publish
    assert.equal((await usage(hub ? mine.store.hub! : mine.store.local)).objects, (await collectAll()).kept)
    await removeTag(mine, 'image')
    assert.equal((await collectAll()).kept, 0)
  })
}

test('at the hub a manifest without a tag is kept, unless it is said that nobody needs it; a broken-off publish is not', async () => {
  const options = { home: join(top, 'home'), hub: `dir:${join(top, 'hub-2')}` }
  await using library = openLibrary(options)
  const { digest } = await publish(library, tree('one', 1), 'image')
  await removeTag(library, 'image')
  const stray = await library.store.put(Buffer.from('nobody names this'))
  const gc = (untagged: boolean, inUse: string[] = []) => collectHub(library, inUse, { grace: 0, untagged })
  await new Promise((r) => setTimeout(r, 10))
  assert.equal((await gc(false)).removed, 1)
  assert.equal(await library.store.hub!.has(stray.id.toString('hex')), false)
  assert.equal((await gc(true, [digest])).removed, 0, 'a workload here was made from it')
  assert.deepEqual((await verify(library.store, digest)).faults, [])
  assert.ok((await gc(true)).removed > 3)
  await using alone = openLibrary({ home: join(top, 'alone-2') })
  await assert.rejects(collectHub(alone, [], { untagged: false }), { code: 'no-folder' })
})

test('while the hub is away, what is kept here is said, and why the hub is not asked', async () => {
  const hub = join(top, 'hub-3')
  await using library = openLibrary({ home: join(top, 'home-3'), hub: `dir:${hub}` })
  const { digest } = await publish(library, tree('three', 1), 'image')
  await verify(library.store, digest)
  const before = await storeStat(library)
  assert.ok(before.local.objects > 0 && before.hub && 'objects' in before.hub && before.hub.objects > 0)
  renameSync(hub, `${hub}.away`)
  const { hub: there, local } = await storeStat(library)
  assert.deepEqual(local, before.local)
  assert.ok(there && 'away' in there && there.away.includes(hub), JSON.stringify(there))
})
