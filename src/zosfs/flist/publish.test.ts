import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { collect, usage } from '#cas'
import { ZosError } from '#codec'
import {
  checkFiles,
  checkSignature,
  diff,
  extract,
  listTags,
  loadManifest,
  publish,
  reachable,
  removeTag,
  resolveTag,
  rotateKey,
  verify,
} from '#zosfs'
import { signingKey } from './keys.ts'
import { filesBelow, flip, library, root, source } from './publish.fixture.ts'

test('a folder published and extracted is the same folder; published again nothing is new; changed, only the change', async () => {
  const lib = library()
  const first = await publish(lib, `dir:${source}`, 'site')
  assert.equal(first.newChunks, first.chunks)
  const again = await publish(lib, `dir:${source}`, 'site')
  assert.deepEqual([again.digest, again.newChunks, again.newBytes], [first.digest, 0, 0])
  const out = join(root, 'out')
  const manifest = await loadManifest(lib.store, first.digest, { fingerprints: true })
  await extract(lib.store, manifest, out)
  execFileSync('diff', ['-r', '--no-dereference', source, out])
  assert.equal(
    statSync(join(out, 'large'), { bigint: true }).mtimeNs,
    statSync(join(source, 'large'), { bigint: true }).mtimeNs,
  )
  await assert.rejects(extract(lib.store, manifest, out), { code: 'not-empty' })

  writeFileSync(join(source, 'etc', 'small-3'), 'changed')
  const changed = await publish(lib, `dir:${source}`, 'site')
  assert.ok(changed.newChunks <= 3, `${changed.newChunks} new chunks`) // the pack; of the verity tree its segment and the top
  const after = await loadManifest(lib.store, changed.digest, { fingerprints: true })
  assert.deepEqual(diff(manifest, after), [{ path: '/etc/small-3', change: 'changed', what: ['time', 'content'] }])
  assert.deepEqual(await verify(lib.store, changed.digest), { files: 41, bytes: changed.size, faults: [] })
})

test('a tag is written when contents and manifest last, though contents are flushed ahead; not when they do not', async () => {
  const lib = library()
  const calls: string[] = []
  const store = { ...lib.store }
  const noting = (fails: boolean): typeof lib => ({
    ...lib,
    store: {
      ...store,
      async putBlob(bytes) {
        calls.push('blob')
        return store.putBlob(bytes)
      },
      async flush() {
        calls.push('flush')
        if (fails) throw new ZosError('Flush chunks: the disk is gone', { code: 'source-away', kind: 'node' })
        assert.equal(await resolveTag(lib, 'lasting'), undefined)
        await store.flush()
      },
    },
  })
  await assert.rejects(publish(noting(true), `dir:${source}`, 'lasting'), { code: 'source-away' })
  assert.equal(await resolveTag(lib, 'lasting'), undefined)
  calls.length = 0
  await publish(noting(false), `dir:${source}`, 'lasting')
  assert.deepEqual(calls, ['flush', 'blob', 'blob', 'flush'])
  assert.ok(await resolveTag(lib, 'lasting'))
})

test('a collection keeps what tags name and removes the rest', async () => {
  const lib = library()
  const kept = await publish(lib, `dir:${source}/etc`, 'kept')
  await publish(lib, `dir:${source}`, 'gone')
  assert.equal(await removeTag(lib, 'gone'), true)
  assert.equal(await removeTag(lib, 'gone'), false)
  await new Promise((done) => setTimeout(done, 20))
  const { removed } = await collect(lib.store, reachable(lib.store, kept.digest), { grace: 0 })
  assert.ok(removed >= 3)
  assert.deepEqual((await verify(lib.store, kept.digest)).faults, [])
  assert.equal(await resolveTag(lib, 'gone'), undefined)
})

test('every flipped object here heals from the hub, manifests too; flipped at both it is named', async () => {
  const hub = join(root, 'hub-1')
  const lib = library(hub)
  const { digest } = await publish(lib, `dir:${source}`, 'web')
  assert.deepEqual(filesBelow(lib.store.dir), [], 'a hub that is a folder has it alone')
  await verify(lib.store, digest) // and now the cache has it too
  const mine = filesBelow(lib.store.dir)
  assert.deepEqual(mine.length, (await usage(lib.store.hub!)).objects)
  for (const file of mine) flip(file)
  assert.deepEqual((await verify(lib.store, digest)).faults, [])
  assert.equal(lib.store.counters.healed, mine.length)

  const manifest = await loadManifest(lib.store, digest)
  const at = manifest.entries.findIndex((e) => e.name.toString() === 'large')
  const entry = manifest.entries[at]!
  const id = entry.type === 'file' && entry.content.kind === 'chunks' && entry.content.chunks[2]!.toString('hex')
  for (const dir of [lib.store.dir, hub]) flip(join(dir, String(id).slice(0, 2), String(id).slice(2)))
  await assert.rejects(checkFiles(lib.store, manifest, [at]), (error: ZosError) => {
    assert.equal(error.code, 'chunk-corrupt')
    assert.match(error.message, /Read "\/large"/)
    assert.equal(error.details.id, id)
    assert.match(String(error.details.found), /^[0-9a-f]{64}$|zstd/)
    return true
  })
  const { faults } = await verify(lib.store, digest)
  assert.deepEqual(
    faults.map(({ path, code }) => [path, code]),
    [
      ['/large', 'chunk-corrupt'],
      ['(disk)', 'chunk-corrupt'],
    ],
  )
})

test('another home gets it from the hub by its tag; replayed, expired, forged and foreign tags are refused', async () => {
  const hub = join(root, 'hub-2')
  const publisher = library(hub)
  const reader = library(hub)
  const tagFile = join(hub, 'tags', 'web')
  const first = await publish(publisher, `dir:${source}/etc`, 'web')
  const old = readFileSync(tagFile)
  assert.equal((await resolveTag(reader, 'web'))!.digest, first.digest)
  const second = await publish(publisher, `dir:${source}`, 'web')
  const tag = (await resolveTag(reader, 'web'))!
  assert.deepEqual([tag.digest, tag.counter, tag.size], [second.digest, 2, second.size])
  await checkSignature(reader, tag.digest, tag.key)
  assert.deepEqual((await verify(reader.store, tag.digest)).faults, [])
  const good = readFileSync(tagFile)

  writeFileSync(tagFile, old)
  await assert.rejects(resolveTag(reader, 'web'), { code: 'tag-rollback' })
  writeFileSync(tagFile, good.toString().replace('"counter":2', '"counter":9'))
  await assert.rejects(resolveTag(reader, 'web'), { code: 'bad-signature' })
  writeFileSync(tagFile, good.subarray(0, 50))
  await assert.rejects(resolveTag(reader, 'web'), { code: 'bad-tag' })
  writeFileSync(tagFile, good)
  await assert.rejects(resolveTag(reader, 'web', Date.now() / 1000 + 400 * 86_400), { code: 'tag-expired' })
  writeFileSync(join(hub, 'tags', 'other'), good)
  await assert.rejects(resolveTag(reader, 'other'), { code: 'bad-signature' }, 'a tag under another name')
  rmSync(join(hub, 'tags', 'other'))

  const stranger = library(hub)
  await publish(stranger, `dir:${source}/etc`, 'web')
  await assert.rejects(resolveTag(reader, 'web'), { code: 'tag-wrong-key' })
  writeFileSync(tagFile, good)
  await rotateKey(publisher)
  mkdirSync(join(root, 'third'))
  writeFileSync(join(root, 'third', 'x'), 'x')
  await publish(publisher, `dir:${root}/third`, 'web')
  const handed = (await resolveTag(reader, 'web'))!
  assert.notEqual(handed.key, tag.key)
  assert.deepEqual(
    (await listTags(reader)).map(({ name }) => name),
    ['web'],
  )

  const signature = join(hub, 'signatures', handed.digest)
  const [file] = filesBelow(signature)
  flip(file!)
  await assert.rejects(checkSignature(reader, handed.digest, handed.key), { code: 'bad-signature' })
  await assert.rejects(checkSignature(reader, handed.digest, tag.key), { code: 'no-signature' })
})

test('with the hub away a known tag still resolves; an unknown one says source-away', async () => {
  const hub = join(root, 'hub-3')
  const lib = library(hub)
  const { digest } = await publish(lib, `dir:${source}`, 'web')
  await verify(lib.store, digest)
  execFileSync('mv', [hub, `${hub}.away`])
  assert.equal((await resolveTag(lib, 'web'))!.digest, digest)
  await assert.rejects(resolveTag(lib, 'unknown'), { code: 'source-away' })
  assert.deepEqual((await verify(lib.store, digest)).faults, [])
})

test('a home that signs for the first time, twice at once, has one key', async () => {
  const { home } = library()
  const keys = await Promise.all([signingKey(home), signingKey(home), signingKey(home)])
  keys.push(await signingKey(home))
  assert.equal(new Set(keys.map((key) => key.public)).size, 1)
})

test('keys are readable by the owner alone', async () => {
  const lib = library()
  await publish(lib, `dir:${source}/etc`, 'x')
  assert.equal(statSync(join(lib.home, 'keys', 'publish.pem')).mode & 0o777, 0o600)
})
