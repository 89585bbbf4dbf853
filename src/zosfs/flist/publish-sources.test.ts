import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import type { ZosError } from '#codec'
import { loadManifest, openLibrary, publish, resolveTag, verify } from '#zosfs'
import { ociLayout, tar } from '../import/fixture_image.ts'
import { library, root, source } from './publish.fixture.ts'

const noSkopeo = spawnSync('skopeo', ['--version']).status !== 0 && 'skopeo is not installed'

let images = 0
const smallImage = (options = {}) => {
  const dir = join(root, `oci-${images++}`)
  ociLayout(
    dir,
    [
      tar([
        { name: 'bin/' },
        { name: 'bin/app', data: Buffer.from('#!/bin/sh\n'), mode: 0o755 },
        { name: 'bin/sh', data: Buffer.from('sh'), mode: 0o755 },
      ]),
    ],
    {
      config: { Entrypoint: ['app'], Env: ['PATH=/bin'] },
      ...options,
    },
  )
  return dir
}

test('an OCI layout and an OCI archive of it are one manifest, with config, layers and start closure', {
  skip: noSkopeo,
}, async () => {
  const dir = smallImage()
  const lib = library()
  const { digest } = await publish(lib, `oci:${dir}:x`, 'app')
  const manifest = await loadManifest(lib.store, digest)
  assert.equal(manifest.layers.length, 1)
  assert.deepEqual(JSON.parse(manifest.config.toString()).config.Entrypoint, ['app'])
  assert.deepEqual(
    manifest.startClosure.map((n) => manifest.entries[n]!.name.toString()),
    ['app', 'sh'],
  )
  execFileSync('tar', ['-cf', `${dir}.tar`, '-C', dir, '.'])
  assert.equal((await publish(lib, `oci-archive:${dir}.tar:x`, 'archive')).digest, digest)
  execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', `oci:${dir}:x`, `docker-archive:${dir}.docker:app:1`])
  const docker = await publish(lib, `docker-archive:${dir}.docker`, 'docker')
  assert.equal(docker.root, manifest.disk.root.toString('hex'), 'the same tree, whatever the wrapping')
})

test('a failed publish is one clear error and leaves nothing behind', { skip: noSkopeo }, async () => {
  const lib = library()
  const failures: [source: string, code: string, message: RegExp][] = [
    [`oci:${root}/nowhere`, 'pull-failed', /Pull "oci:/],
    ['docker://127.0.0.1:9/none:1', 'pull-failed', /Pull "docker:\/\/127\.0\.0\.1:9\/none:1": .*refused/],
    [`oci:${smallImage({ architecture: 's390x' })}:x`, 'foreign-architecture', /it is for "s390x"/],
    [`oci:${smallImage({ spoil: () => Buffer.from('no') })}:x`, 'pull-failed', /Pull/],
    [`dir:${root}/nowhere`, 'source-unreadable', /no such folder/],
    [`dir:${source}/large`, 'source-unreadable', /large": it is no folder$/],
    ['dir:', 'bad-source', /Read source "dir:"/],
    ['-x', 'bad-source', /not one of docker:/],
    ['', 'bad-source', /not one of docker:/],
  ]
  for (const [from, code, message] of failures) {
    await assert.rejects(publish(lib, from, 'bad'), (error: ZosError) => {
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
      assert.ok(!error.message.includes('\n'))
      return true
    })
    assert.equal(await resolveTag(lib, 'bad'), undefined)
    assert.deepEqual(existsSync(join(lib.home, 'tmp')) ? readdirSync(join(lib.home, 'tmp')) : [], [], from)
  }
  await assert.rejects(publish(lib, `dir:${source}`, '../evil'), { code: 'bad-tag-name' })
})

test('one image published several times at once: none takes away what another still reads', {
  skip: noSkopeo,
}, async () => {
  const dir = smallImage()
  const lib = library()
  const all: Promise<{ digest: string }>[] = []
  // each begins to pull when the one before it has: that one is done, and tidies up, while the next is at it
  for (let n = 0; n < 4; n++) {
    await new Promise<void>((pulled) => {
      const onProgress = ({ phase }: { phase: string }) => phase === 'import' && pulled()
      all.push(publish(lib, `oci:${dir}:x`, `app${n}`, { onProgress }))
    })
  }
  const digests = new Set((await Promise.all(all)).map(({ digest }) => digest))
  assert.equal(digests.size, 1)
  assert.deepEqual(readdirSync(join(lib.home, 'tmp')), [])
})

test('an interrupted publish finds its chunks again', async () => {
  const lib = library()
  const control = new AbortController()
  const stopped = publish(lib, `dir:${source}`, 'web', {
    signal: control.signal,
    onProgress: ({ phase }) => phase === 'store' && control.abort(),
  })
  await assert.rejects(stopped, { name: 'AbortError' })
  assert.equal(await resolveTag(lib, 'web'), undefined)
  const again = await publish(lib, `dir:${source}`, 'web')
  // those of the hash tree, made after the import
  assert.ok(again.newChunks <= 2, `${again.newChunks} of ${again.chunks} chunks were put again`)
})

const noMount = process.getuid?.() !== 0 && 'mounting needs root'

/** A file system of SIZE at DIR, gone when disposed. */
function smallDisk(dir: string, size: string): Disposable {
  mkdirSync(dir, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'small', dir])
  return { [Symbol.dispose]: () => void execFileSync('umount', [dir]) }
}

test('a full disk under the store or the hub: one clear error, nothing half-done; with room it goes on', {
  skip: noMount,
}, async () => {
  for (const [n, under] of ['store', 'hub'].entries()) {
    const home = join(root, `full-${n}`)
    const hub = join(root, `full-hub-${n}`)
    const disk = under === 'store' ? home : hub
    using _small = smallDisk(disk, '600k')
    await using lib = openLibrary({ home, hub: under === 'hub' ? `dir:${hub}` : undefined })
    await assert.rejects(publish(lib, `dir:${source}`, 'web'), (error: ZosError) => {
      assert.equal(error.code, 'store-full', error.message)
      assert.match(error.message, /the disk is full; free space there or run "zos store gc"$/)
      return true
    })
    assert.equal(await resolveTag(lib, 'web'), undefined)
    assert.deepEqual(readdirSync(join(disk, 'tmp')), [])
    execFileSync('mount', ['-o', 'remount,size=8m', disk])
    const { digest } = await publish(lib, `dir:${source}`, 'web')
    assert.deepEqual((await verify(lib.store, digest)).faults, [])
  }
})

test('a full disk under the cache costs a second fetch, not the read', { skip: noMount }, async () => {
  const hub = join(root, 'roomy-hub')
  const { digest } = await publish(library(hub), `dir:${source}`, 'web')
  const home = join(root, 'full-cache')
  using _small = smallDisk(home, '300k')
  await using lib = openLibrary({ home, hub: `dir:${hub}` })
  assert.deepEqual((await verify(lib.store, digest)).faults, [])
})
