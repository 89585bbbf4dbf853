// The pieces of `npm start`; the whole of it by night: test/start.test.ts.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import start from '../start.ts'
import { openDemoHome } from './home.ts'
import { compressedLayerBytes } from './image.ts'
import { ociLayout } from './oci.ts'
import { startRegistry } from './registry.ts'
import { timeline } from './timeline.ts'

const dir = mkdtempSync(join(tmpdir(), 'zos-demo-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

test('an image layout names each blob by what is in it, and each layer by what it unpacks to', async () => {
  const layout = join(dir, 'layout')
  mkdirSync(layout)
  const tars = ['low', 'high'].map((name) => {
    const file = join(layout, `${name}.tar`)
    spawnSync('tar', ['-cf', file, '-C', import.meta.dirname, name === 'low' ? 'oci.ts' : 'home.ts'])
    return { file, sha256: sha256(readFileSync(file)) }
  })
  const config = { Cmd: ['true'] }
  await ociLayout(
    layout,
    tars.map((t) => t.file),
    config,
  )
  const blobs = join(layout, 'blobs/sha256')
  for (const name of readdirSync(blobs)) assert.equal(sha256(readFileSync(join(blobs, name))), name)
  const read = (digest: string) => readFileSync(join(layout, 'blobs', digest.replace(':', '/')))
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
  const manifest = JSON.parse(read(index.manifests[0].digest).toString())
  const image = JSON.parse(read(manifest.config.digest).toString())
  assert.deepEqual(image.config, config)
  const layers = manifest.layers as { digest: string; size: number }[]
  assert.deepEqual(
    layers.map(({ digest }) => `sha256:${sha256(gunzipSync(read(digest)))}`),
    image.rootfs.diff_ids,
  )
  assert.deepEqual(
    image.rootfs.diff_ids,
    tars.map((t) => `sha256:${t.sha256}`),
  )
  const bytes = layers.reduce((sum, { digest }) => sum + read(digest).length, 0)
  assert.equal(compressedLayerBytes(layout), bytes)
  assert.deepEqual(readdirSync(layout).sort(), ['blobs', 'index.json', 'oci-layout'], 'the tar files are gone')
})

test('the registry of Debian answers on loopback, and goes with all that was pushed', async () => {
  const before = new Set(readdirSync(tmpdir()))
  const registry = await startRegistry()
  const made = readdirSync(tmpdir()).filter((name) => name.startsWith('zos-registry-') && !before.has(name))
  assert.match(registry.host, /^127\.0\.0\.1:\d+$/)
  assert.ok((await fetch(`http://${registry.host}/v2/`)).ok)
  await registry[Symbol.asyncDispose]()
  await assert.rejects(fetch(`http://${registry.host}/v2/`))
  assert.ok(made.length > 0 && !made.some((name) => existsSync(join(tmpdir(), name))))
})

test('a step is shown with the time it took, the time it was done at and what came of it', async () => {
  const at = timeline()
  assert.equal(await at.step('one', async () => 7, String), 7)
  await at.step('two', async () => {})
  await assert.rejects(
    at.step('three', () => Promise.reject(new Error('no'))),
    /no/,
  )
  const lines = at.text().split('\n')
  assert.match(lines[0]!, /^STEP +TOOK +DONE AT/)
  assert.match(lines[1]!, /^one +\d+\.\d\d +\d+\.\d\d +7$/)
  assert.match(lines[2]!, /^two +\d+\.\d\d +\d+\.\d\d$/)
  assert.equal(lines.length, 4)
})

test('the demo has a home of its own, for one at a time; what the person set does not reach it', async () => {
  const saved = { ...process.env }
  try {
    Object.assign(process.env, { ZOS_HOME: join(dir, 'home'), ZOS_HUB: 'dir:/theirs', ZOS_GRID: 'theirs' })
    mkdirSync(join(dir, 'home/demo/keys'), { recursive: true })
    writeFileSync(join(dir, 'home/demo/keys/alice'), 'of an earlier run')
    await using demo = await openDemoHome()
    assert.equal(demo.dir, join(dir, 'home/demo'))
    assert.deepEqual(
      [process.env.ZOS_HOME, process.env.ZOS_HUB, process.env.ZOS_GRID],
      [demo.dir, undefined, undefined],
    )
    assert.ok(!existsSync(join(demo.dir, 'keys')))
    const file = join(demo.dir, 'passphrase')
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal(readFileSync(file, 'utf8').trim(), process.env.ZOS_PASSPHRASE)
    assert.equal(demo.exports, `export ZOS_HOME=${demo.dir} ZOS_PASSPHRASE=$(cat ${file})`)
    assert.match(await demo.zos(['version']), /\d/)
    await assert.rejects(demo.zos(['nonsense']), {
      code: 'step-failed',
      message: /^Run "zos nonsense": exit \d+: zos: .*nonsense/,
    })
    process.env.ZOS_HOME = join(dir, 'home')
    await assert.rejects(openDemoHome(), { code: 'demo-runs', message: /another one runs there; end it first/ })
  } finally {
    for (const name of Object.keys(process.env)) if (!(name in saved)) delete process.env[name]
    Object.assign(process.env, saved)
  }
})

test('a port that is none is refused before anything begins', async () => {
  for (const port of ['x', '65536', '-1', '80:80'])
    await assert.rejects(start(['--once', `--port=${port}`]), { code: 'usage', message: /is no port/ })
})
