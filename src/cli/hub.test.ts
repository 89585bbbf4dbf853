import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import { serveUnix } from '#sys'
import { hubInUse, namedHub } from './hub.ts'

const dir = mkdtempSync(join(tmpdir(), 'zos-hub-'))
after(() => rmSync(dir, { recursive: true }))

test('folders of a hub are named from the root, whoever opens them where', () => {
  const named = (ZOS_HUB: string) => namedHub({ ZOS_HUB })
  assert.equal(named('dir:hub,http://h:1,dir:/a/../b'), `dir:${resolve('hub')},http://h:1,dir:/b`)
  assert.deepEqual([named(''), namedHub({})], [undefined, undefined])
  assert.deepEqual([named('dir:'), named('hub')], ['dir:', 'hub'], 'what is none is refused by who opens it')
})

test('what is published goes to the hub of the daemon that runs; where another one is named, nowhere', async () => {
  process.env.ZOS_HOME = dir
  process.env.ZOS_API = join(dir, 'api.sock')
  const inUse = (hub: string | undefined) => {
    delete process.env.ZOS_HUB
    if (hub !== undefined) process.env.ZOS_HUB = hub
    return hubInUse()
  }
  assert.deepEqual([await inUse('dir:/a'), await inUse(undefined)], ['dir:/a', undefined], 'no daemon')
  assert.ok(!process.getActiveResourcesInfo().includes('Timeout'), 'it keeps no command from ending')
  let has: string | null = 'dir:/a'
  const server = await serveUnix(process.env.ZOS_API, Promise.resolve({ calls: {} }), {
    calls: { 'GET /ping': () => ({ pid: 1, hub: has }) },
  })
  after(() => server.close())
  assert.deepEqual([await inUse('dir:/a'), await inUse('dir:/a/'), await inUse(undefined)], Array(3).fill('dir:/a'))
  await assert.rejects(inUse('dir:/b'), { code: 'other-hub', message: /hub "dir:\/b": the daemon .* hub "dir:\/a"; / })
  has = null
  assert.equal(await inUse(undefined), undefined)
  await assert.rejects(inUse('dir:/b'), /started with no hub but its own store; unset ZOS_HUB, or "zos down" first/)
})
