import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { callUnix, freePort, run, sleep, tryRun, until } from '#sys'
import { decodeTrace, loadManifest, openLibrary, type Published, publish } from '#zosfs'

const MAIN = join(import.meta.dirname, 'main.ts')
let top: string
let published: Published

/** A tree whose command is a shell script, so that its closure has an interpreter. */
before(async () => {
  top = mkdtempSync(join(tmpdir(), 'zos-storage-'))
  const tree = join(top, 'tree')
  mkdirSync(join(tree, 'bin'), { recursive: true })
  cpSync('/bin/busybox', join(tree, 'bin/busybox'))
  cpSync('/bin/busybox', join(tree, 'bin/sh'))
  writeFileSync(join(tree, 'bin/go'), '#!/bin/sh\necho hello\n')
  chmodSync(join(tree, 'bin/go'), 0o755)
  for (let n = 0; n < 20; n++) writeFileSync(join(tree, `data-${n}`), Buffer.alloc(200_000 + n, `${n}`))
  await using library = openLibrary({ home: join(top, 'origin'), hub: `dir:${join(top, 'hub')}` })
  published = await publish(library, `dir:${tree}`, 'web')
})
after(() => rmSync(top, { recursive: true, force: true }))

let nodes = 0
type Node = AsyncDisposable & {
  home: string
  run: string
  child: ChildProcess
  log: () => string
  call: <T = Record<string, unknown>>(method: string, path: string, body?: unknown) => Promise<T>
  start: () => Promise<void>
}

/** A storage process with a home and hub of its own. */
async function node(options: { hub?: string } = {}): Promise<Node> {
  const home = join(top, `home${nodes}`)
  const runDir = join(top, `run${nodes++}`)
  let log = ''
  const it = {
    home,
    run: runDir,
    child: undefined as unknown as ChildProcess,
    log: () => log,
    call: <T>(method: string, path: string, body?: unknown) =>
      callUnix<T>(join(runDir, 'storage.sock'), method, path, body === undefined ? {} : { body }),
    async start() {
      const args = [MAIN, '--home', home, '--run', runDir, '--hub', options.hub ?? `dir:${join(top, 'hub')}`]
      it.child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      it.child.stderr!.on('data', (d: Buffer) => (log += d))
      await until('the storage process', 10_000, () => it.call('GET', '/status').catch(() => undefined))
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => it.child.once('exit', resolve))
      if (it.child.exitCode === null && it.child.signalCode === null && it.child.kill('SIGTERM')) await ended
    },
  }
  await it.start()
  return it
}

const put = async (n: Node, id: string) => {
  await n.call('PUT', `/exports/${id}`, { socket: join(n.run, `${id}.nbd`) })
  return `driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=${join(n.run, `${id}.nbd`)},file.export=${id},file.reconnect-delay=30`
}
const chunkFile = (root: string, id: string) => join(root, id.slice(0, 2), id.slice(2))
const flip = (file: string) => {
  const bytes = readFileSync(file)
  bytes[bytes.length >> 1]! ^= 1
  writeFileSync(file, bytes)
}
/** Ids of the chunks of the file at PATH. */
async function idsOf(path: string): Promise<string[]> {
  await using library = openLibrary({ home: join(top, 'origin'), hub: `dir:${join(top, 'hub')}` })
  const manifest = await loadManifest(library.store, published.digest)
  const name = path.split('/').at(-1)
  const entry = manifest.entries.find((e) => e.name.toString() === name)!
  if (entry.type !== 'file' || entry.content.kind === 'empty') throw new Error(`"${path}" has no chunks`)
  if (entry.content.kind === 'packed') return [manifest.packs[entry.content.pack]!.id.toString('hex')]
  return entry.content.chunks.filter((id) => id !== undefined).map((id) => id.toString('hex'))
}

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
  assert.match(n.log(), new RegExp(`export "vm-1": a read failed: "/data-7": .*${id}`))
  assert.ok(((await n.call('GET', '/exports/vm-1')).errors as number) > 0)
})

test('kill -9 and restart under a reader; everything posted again', async () => {
  await using n = await node()
  const image = await put(n, 'vm-1')
  const bound = await n.call<{ hashStart: number }>('POST', '/exports/vm-1/bind', { digest: published.digest })
  const out = join(top, 'through')
  let finished = false
  const reading = run('qemu-img', [
    'convert',
    '-r',
    '2M',
    '-O',
    'raw',
    '--image-opts',
    `driver=raw,size=${bound.hashStart * 4096},${image.replace('driver=raw,', '')}`,
    out,
  ]).finally(() => {
    finished = true
  })
  await until('reads', 5000, async () => ((await n.call('GET', '/exports/vm-1')).requests as number) > 0)
  assert.equal(finished, false)
  n.child.kill('SIGKILL')
  await sleep(200)
  await n.start()
  await put(n, 'vm-1')
  await n.call('POST', '/exports/vm-1/bind', { digest: published.digest })
  await reading
  await run('fsck.erofs', ['--extract', out])
})

test('while the hub is away reads wait, and go on when it is back', async () => {
  const hub = join(top, 'hub-away')
  cpSync(join(top, 'hub'), hub, { recursive: true })
  await using n = await node({ hub: `dir:${hub}` })
  const image = await put(n, 'vm-1')
  const { hashStart } = await n.call<{ hashStart: number }>('POST', '/exports/vm-1/bind', { digest: published.digest })
  renameSync(hub, `${hub}-gone`)
  const out = join(top, 'waited')
  let finished = false
  const reading = run('qemu-img', [
    'dd',
    '-O',
    'raw',
    'bs=1M',
    `count=${Math.ceil(hashStart / 256)}`,
    '--image-opts',
    `if=${image}`,
    `of=${out}`,
  ]).finally(() => {
    finished = true
  })
  await sleep(1000)
  assert.equal(finished, false)
  renameSync(`${hub}-gone`, hub)
  await reading
  assert.equal((await n.call('GET', '/exports/vm-1')).errors, 0)
})

/** The hub as a process of its own, over HTTP. */
async function hubProcess(dir: string, port = 0) {
  const main = join(import.meta.dirname, '../../hub/main.ts')
  const wanted = port || (await freePort())
  const child = spawn(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    main,
    '--dir',
    dir,
    '--port',
    `${wanted}`,
  ])
  await until('the hub', 10_000, () =>
    fetch(`http://127.0.0.1:${wanted}/`).then(
      () => true,
      () => false,
    ),
  )
  const exit = new Promise((resolve) => child.once('exit', resolve))
  const kill = async () => {
    child.kill('SIGKILL')
    await exit
  }
  return { port: wanted, kill, [Symbol.asyncDispose]: kill }
}

test('the hub is killed in the middle of a read and stays away for seconds: the read waits, and ends well', async () => {
  await using hub = await hubProcess(join(top, 'hub'))
  await using n = await node({ hub: `http://127.0.0.1:${hub.port}` })
  const image = await put(n, 'vm-1')
  const { hashStart } = await n.call<{ hashStart: number }>('POST', '/exports/vm-1/bind', { digest: published.digest })
  const stat = () => n.call<{ requests: number; errors: number }>('GET', '/exports/vm-1')
  const out = join(top, 'hub-killed')
  let finished = false
  const whole = `driver=raw,size=${hashStart * 4096},${image.replace('driver=raw,', '')}`
  const reading = run('qemu-img', ['convert', '-r', '2M', '-O', 'raw', '--image-opts', whole, out]).finally(() => {
    finished = true
  })
  await until('reads', 5000, async () => (await stat()).requests > 0)
  await hub.kill()
  await sleep(3000)
  assert.equal(finished, false)
  await using _back = await hubProcess(join(top, 'hub'), hub.port)
  await reading
  assert.equal((await stat()).errors, 0)
  await run('fsck.erofs', ['--extract', out])
})

test('what a start touched is kept beside the manifest: a node that never ran it fetches that, then fills in the rest', async () => {
  const hub = join(top, 'hub-traced')
  cpSync(join(top, 'hub'), hub, { recursive: true })
  await using first = await node({ hub: `dir:${hub}` })
  const image = await put(first, 'vm-1')
  await first.call('POST', '/exports/vm-1/bind', { digest: published.digest })
  await run('qemu-io', ['-r', '-c', 'read 3M 1M', '--image-opts', image])
  await first.call('POST', '/exports/vm-1/ready')
  await until('the trace', 6000, () => existsSync(join(hub, 'traces', published.digest)))

  await using server = await hubProcess(hub)
  await using n = await node({ hub: `http://127.0.0.1:${server.port}` })
  await put(n, 'vm-2')
  type Stat = { selfContained: boolean; requests: number; fill?: { total: number; done: number } }
  const stat = () => n.call<Stat>('GET', '/exports/vm-2')
  await n.call('POST', '/exports/vm-2/bind', { digest: published.digest })
  const order = decodeTrace(readFileSync(join(hub, 'traces', published.digest)))!
  assert.ok(order.length >= 8, `${order.length} extents`)
  await until(
    'the prefetch',
    5000,
    async () => (await n.call<{ fetched: number }>('GET', '/status')).fetched > order.length,
  )
  assert.deepEqual([(await stat()).requests, (await stat()).selfContained], [0, false])

  await n.call('POST', '/exports/vm-2/ready')
  const filled = await until('the fill', 20_000, async () => ((await stat()).selfContained ? stat() : undefined))
  assert.equal(filled.fill?.done, filled.fill?.total)
  await server.kill() // and from now on it needs nobody
  n.child.kill('SIGKILL')
  await n.start()
  const again = await put(n, 'vm-2')
  const { hashStart } = await n.call<{ hashStart: number }>('POST', '/exports/vm-2/bind', { digest: published.digest })
  const whole = `driver=raw,size=${hashStart * 4096},${again.replace('driver=raw,', '')}`
  await run('qemu-img', ['convert', '-O', 'raw', '--image-opts', whole, join(top, 'alone')])
  await run('fsck.erofs', ['--extract', join(top, 'alone')])
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

test('a second process for the same folder leaves the first alone', async () => {
  await using n = await node()
  const { pid } = await n.call('GET', '/status')
  const second = await tryRun(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    MAIN,
    '--home',
    n.home,
    '--run',
    n.run,
  ])
  assert.equal(second.code, 0)
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
