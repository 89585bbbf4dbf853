import assert from 'node:assert/strict'
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { run, tryRun, until } from '#sys'
import { chunkFile, flip, idsOf, MAIN, node, published, put, top } from './storage.fixture.ts'

test('an export is made, bound, checked and read; the same calls again change nothing', async () => {
  await using n = await node()
  const image = await put(n, 'vm-1')
  await put(n, 'vm-1')
  const bound = await n.call<{ root: string; dataBlocks: number; hashStart: number; files: number }>(
    'POST',
    '/exports/vm-1/bind',
    { digest: published.digest },
  )
  assert.equal(bound.root, published.root)
  assert.equal(bound.files, 23)
  assert.deepEqual(await n.call('POST', '/exports/vm-1/bind', { digest: published.digest }), bound)
  await assert.rejects(n.call('POST', '/exports/vm-1/bind', { digest: '0'.repeat(64) }), { code: 'already-bound' })
  const checked = await n.call<{ files: number; bytes: number }>('POST', '/exports/vm-1/check', {
    argv: ['/bin/go'],
    env: [],
    cwd: '/',
  })
  assert.equal(checked.files, 2)
  assert.ok(checked.bytes > statSync('/bin/busybox').size)

  const out = join(top, 'disk')
  await run('qemu-img', [
    'dd',
    '-O',
    'raw',
    `bs=4096`,
    `count=${bound.hashStart + 64}`,
    '--image-opts',
    `if=${image}`,
    `of=${out}`,
  ])
  await run('veritysetup', [
    'verify',
    '--no-superblock',
    '--salt=-',
    `--data-blocks=${bound.dataBlocks}`,
    `--hash-offset=${bound.hashStart * 4096}`,
    out,
    out,
    bound.root,
  ])
  await run('fsck.erofs', ['--extract', out])

  const stat = await n.call('GET', '/exports/vm-1')
  assert.equal(stat.errors, 0)
  assert.equal(stat.files, 2)
  await n.call('DELETE', '/exports/vm-1')
  await n.call('DELETE', '/exports/vm-1')
  await assert.rejects(n.call('GET', '/exports/vm-1'), { code: 'no-export' })
  assert.equal(existsSync(join(n.run, 'vm-1.nbd')), false)
})

test('a flipped bit in the cache heals; one at the hub too stops the start and names the file', async () => {
  const hub = join(top, 'hub-damaged')
  cpSync(join(top, 'hub'), hub, { recursive: true })
  await using n = await node({ hub: `dir:${hub}` })
  await put(n, 'vm-1')
  await n.call('POST', '/exports/vm-1/bind', { digest: published.digest })
  const check = () =>
    n.call<{ files: number }>('POST', '/exports/vm-1/check', { argv: ['go'], env: ['PATH=/bin'], cwd: '/' })
  await check()
  const ids = await idsOf('bin/sh')
  const id = ids[ids.length >> 1]!
  const here = chunkFile(join(n.home, 'cas'), id)
  const good = readFileSync(here)
  flip(here)
  await check()
  assert.ok(readFileSync(here).equals(good))
  assert.equal((await n.call('GET', '/status')).healed, 1)

  flip(here)
  flip(chunkFile(hub, id))
  await assert.rejects(check(), (error: Error & { code: string; details: Record<string, string> }) => {
    assert.equal(error.code, 'launch-check')
    assert.match(
      error.message,
      new RegExp(
        `Start "/bin/(sh|busybox)": it is not what was published: expected chunk ${id.slice(0, 12)}….*publish it again`,
      ),
    )
    assert.notEqual(error.details.found, id)
    return true
  })
  writeFileSync(chunkFile(hub, id), good)
  await check()
})

test('a damaged chunk no start needs is an I/O error to who reads it, and the log names the file', async () => {
  const hub = join(top, 'hub-rot')
  cpSync(join(top, 'hub'), hub, { recursive: true })
  const [id] = await idsOf('data-7')
  flip(chunkFile(hub, id!))
  await using n = await node({ hub: `dir:${hub}` })
  const image = await put(n, 'vm-1')
  const { hashStart } = await n.call<{ hashStart: number }>('POST', '/exports/vm-1/bind', { digest: published.digest })
  await n.call('POST', '/exports/vm-1/check', { argv: ['/bin/go'] })
  const out = join(top, 'broken')
  const read = await tryRun('qemu-img', [
    'dd',
    '-O',
    'raw',
    'bs=1M',
    `count=${Math.ceil(hashStart / 256)}`,
    '--image-opts',
    `if=${image}`,
    `of=${out}`,
  ])
  assert.notEqual(read.code, 0)
  const said = new RegExp(`export "vm-1": a read failed: "/data-7": .*${id}`)
  await until('what it logged to come', 10_000, () => said.test(n.log()))
  assert.ok(((await n.call('GET', '/exports/vm-1')).errors as number) > 0)
})

test('gc keeps what tags and exports need; stat and scrub count', async () => {
  await using n = await node()
  await put(n, 'vm-1')
  await n.call('POST', '/exports/vm-1/bind', { digest: published.digest })
  await n.call('POST', '/exports/vm-1/check', { argv: ['/bin/go'] })
  const stat = await n.call<{ local: { objects: number }; hub: { objects: number } }>('GET', '/stat')
  assert.ok(stat.local.objects > 0 && stat.hub.objects >= stat.local.objects)
  const kept = await n.call<{ kept: number; removed: number }>('POST', '/gc', { grace: 0 })
  assert.deepEqual([kept.kept, kept.removed], [stat.local.objects, 0])
  const [id] = await idsOf('bin/sh')
  flip(chunkFile(join(n.home, 'cas'), id!))
  const scrubbed = await n.call<{ healed: { id: string }[]; lost: unknown[] }>('POST', '/scrub')
  assert.deepEqual(
    scrubbed.healed.map((h) => h.id),
    [id],
  )
  assert.deepEqual(scrubbed.lost, [])
})

test('a second process for the same folder leaves the first alone, whether that answers or not', async () => {
  await using n = await node()
  const { pid } = await n.call('GET', '/status')
  const args = ['--disable-warning=ExperimentalWarning', MAIN, '--home', n.home, '--run', n.run]
  assert.equal((await tryRun(process.execPath, args)).code, 0)
  n.child.kill('SIGSTOP')
  const second = await tryRun(process.execPath, args)
  n.child.kill('SIGCONT')
  assert.equal(second.code, 0)
  assert.match(second.stderr, new RegExp(`pid ${pid} is the storage plane of .* already`))
  assert.equal((await n.call('GET', '/status')).pid, pid)
})

test('bad calls are refused with one line; SIGTERM removes every socket', async () => {
  const n = await node()
  await put(n, 'vm-1')
  await assert.rejects(n.call('PUT', '/exports/vm-2', { socket: 5 }), { code: 'bad-request' })
  await assert.rejects(n.call('POST', '/exports/vm-1/bind', { digest: 'x' }), { code: 'bad-digest' })
  await assert.rejects(n.call('POST', '/exports/vm-1/check'), { code: 'not-bound' })
  await assert.rejects(n.call('POST', '/exports/none/bind', { digest: published.digest }), { code: 'no-export' })
  await assert.rejects(n.call('PUT', '/exports/vm-3', { socket: '/nowhere/at/all' }), { code: 'listen-failed' })
  await n[Symbol.asyncDispose]()
  assert.deepEqual(readdirSync(n.run), [])
})
