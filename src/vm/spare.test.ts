import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { run } from '#sys'
import { findQemu } from './qemu.ts'
import { ensureSpare, loadingFrom } from './spare.ts'

const dir = await mkdtemp(join(tmpdir(), 'zos-spare-'))
after(() => rm(dir, { recursive: true, force: true }))

test('QEMU takes the stand-ins for libraries it never calls, and starts with them', async () => {
  const qemu = await findQemu()
  const spare = await ensureSpare(dir, qemu)
  assert.ok(spare)
  const standIns = readdirSync(spare).filter((name) => /\.so\.\d+$/.test(name))
  assert.ok(standIns.length > 0)
  const loaded = async (env: NodeJS.ProcessEnv) =>
    (await run(qemu.path, [], { env: { ...process.env, LD_TRACE_LOADED_OBJECTS: '1', ...env } })).stdout.toString()
  const [before, now] = [await loaded({}), await loaded(loadingFrom(spare))]
  for (const name of standIns) {
    assert.match(before, new RegExp(`${name} => (?!${spare})`))
    assert.match(now, new RegExp(`${name} => ${spare}/${name}`))
  }
  assert.doesNotMatch(now, /not found/)
  assert.ok(now.split('\n').length < before.split('\n').length, 'what only they needed is not loaded either')
  assert.equal(await ensureSpare(dir, qemu), spare)
})

test('a QEMU that does not start with them goes without', async () => {
  const qemu = { ...(await findQemu()), path: '/bin/false', text: 'another' }
  assert.equal(await ensureSpare(dir, qemu), undefined)
  assert.deepEqual(
    readdirSync(join(dir, 'spare')).filter((name) => name.endsWith('.tmp')),
    [],
  )
})
