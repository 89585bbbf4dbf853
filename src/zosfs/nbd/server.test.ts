import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { ZosError } from '#codec'
import { run, sleep, tryRun, until } from '#sys'
import type { ChunkSource } from '../disk/chunk-cache.ts'
import { noise } from '../disk/fixture.ts'
import { dir, diskOn, image, imageSize, memory, rawClient, serve, tree } from './server.fixture.ts'
import { serveNbd } from './server.ts'

test('nbdinfo sees a read-only export of the fixed size with its allocation', async () => {
  const starting = serve()
  await using server = await starting
  server.bind(diskOn(memory()))
  const { stdout } = await run('nbdinfo', ['--json', starting.uri])
  const info = JSON.parse(stdout.toString()) as { protocol: string; exports: Record<string, unknown>[] }
  assert.equal(info.protocol, 'newstyle-fixed')
  const [it] = info.exports
  assert.equal(it!['export-name'], 'vm-1')
  assert.equal(it!['export-size'], 2 ** 40)
  assert.equal(it!.is_read_only, true)
  assert.equal(it!.can_multi_conn, true)
  assert.deepEqual(it!.contexts, ['base:allocation'])
  const map = await run('nbdinfo', ['--map', '--json', starting.uri])
  const { metadataBlocks, extents } = tree.synthesised
  const used = [metadataBlocks, tree.manifest.disk.treeBlocks, ...extents.map(({ blocks }) => blocks)]
  let at = 0
  let allocated = 0
  for (const { offset, length, type } of JSON.parse(map.stdout.toString()) as Record<
    'offset' | 'length' | 'type',
    number
  >[]) {
    assert.equal(offset, at)
    if (type === 0) allocated += length
    // hole and zero: nothing of the image is there
    else
      assert.deepEqual(
        [
          type,
          tree
            .image()
            .subarray(at, at + length)
            .some(Boolean),
        ],
        [3, false],
      )
    at += length
  }
  assert.deepEqual([at, allocated], [2 ** 40, used.reduce((sum, blocks) => sum + blocks, 0) * 4096])
  const { stdout: list } = await run('nbdinfo', ['--list', `nbd+unix://?socket=${starting.path}`])
  assert.match(list.toString(), /export="vm-1"/)
  assert.notEqual((await tryRun('nbdinfo', [`nbd+unix:///other?socket=${starting.path}`])).code, 0)
})

test('nbdcopy and qemu-img read the same bytes as the image', async () => {
  const starting = serve({ size: imageSize() + 8192 })
  await using server = await starting
  server.bind(diskOn(memory()))
  const copy = join(dir, 'copy')
  await run('nbdcopy', [starting.uri, copy])
  await run('cmp', [`--bytes=${imageSize()}`, image, copy])
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, starting.uri])
  // and the whole 1 TiB, which only works because zeros are told, not sent
  const wide = serve()
  await using big = await wide
  big.bind(diskOn(memory()))
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, wide.uri])
})

test('without structured replies zeros are sent as bytes', async () => {
  const starting = serve({ size: imageSize() + 8192 })
  await using server = await starting
  server.bind(diskOn(memory()))
  const client = await rawClient(starting.path, { structured: false })
  for (const [offset, length] of [
    [0, 5000],
    [imageSize() - 4096, 12288],
  ] as const) {
    client.read(7n, offset, length)
    const head = await client.take(16)
    assert.equal(head.readUInt32BE(0), 0x67446698)
    assert.equal(head.readUInt32BE(4), 0)
    assert.equal(head.readBigUInt64BE(8), 7n)
    const want = Buffer.concat([tree.image(), Buffer.alloc(8192)]).subarray(offset, offset + length)
    assert.ok((await client.take(length)).equals(want))
  }
  client.socket.destroy()
})

test('a chunk that is slow in coming holds up nobody else', async () => {
  const gate = Promise.withResolvers<void>()
  const slow = tree.synthesised.extents[3]!
  const source = memory()
  const starting = serve()
  await using server = await starting
  const asked: string[] = []
  server.bind(
    diskOn({
      async get(id) {
        asked.push(id.toString('hex'))
        if (id.equals(slow.id)) await gate.promise
        return source.get(id)
      },
    }),
  )
  const client = await rawClient(starting.path)
  for (let n = 0n; n < 15n; n++) client.read(n, slow.block * 4096, 4096)
  client.read(99n, tree.synthesised.extents[6]!.block * 4096, 4096)
  const first = await client.chunk()
  assert.equal(first.cookie, 99n)
  gate.resolve()
  for (let n = 0n; n < 15n; n++) {
    const { cookie, data, done } = await client.chunk()
    assert.ok(cookie < 15n && done)
    assert.ok(data.subarray(8).equals(tree.chunks.get(slow.id.toString('hex'))!.subarray(0, 4096)))
  }
  assert.equal(asked.filter((id) => id === slow.id.toString('hex')).length, 1, 'fetched once for all')
  client.socket.destroy()
})

test('reads wait for the bind and for a source that is away, and are never errors', async () => {
  const starting = serve()
  await using server = await starting
  const client = await rawClient(starting.path)
  const at = tree.synthesised.extents[0]!
  client.read(1n, at.block * 4096, 512)
  await sleep(50)
  assert.equal(client.socket.readableLength, 0)
  let away = true
  const source = memory()
  server.bind(
    diskOn({
      async get(id) {
        if (away) throw new ZosError('Fetch chunk: hub away', { code: 'source-away', kind: 'node' })
        return source.get(id)
      },
    }),
  )
  await sleep(250)
  assert.equal(client.socket.readableLength, 0)
  away = false
  const { cookie, type } = await client.chunk()
  assert.deepEqual([cookie, type], [1n, 1])
  client.socket.destroy()
})

test('what cannot be read is an I/O error with its reason; the next try may succeed', async () => {
  const chunks = new Map(tree.chunks)
  const lost = tree.synthesised.extents[2]!
  chunks.delete(lost.id.toString('hex'))
  const errors: unknown[] = []
  const starting = serve({ onError: (error) => errors.push(error) })
  await using server = await starting
  server.bind(diskOn(memory(chunks)))
  const client = await rawClient(starting.path)
  client.read(5n, lost.block * 4096, 4096)
  const bad = await client.chunk()
  assert.equal(bad.type, 0x8001)
  assert.equal(bad.data.readUInt32BE(0), 5)
  assert.match(bad.data.subarray(6).toString(), /Read chunk: gone/)
  assert.equal(errors.length, 1)
  chunks.set(lost.id.toString('hex'), tree.chunks.get(lost.id.toString('hex'))!)
  client.read(6n, lost.block * 4096, 4096)
  assert.equal((await client.chunk()).type, 1)
  client.socket.destroy()
})

test('refusals: writes, bounds, lengths, unknown commands; the connection goes on', async () => {
  const starting = serve({ size: 2 ** 30 })
  await using server = await starting
  server.bind(diskOn(memory()))
  const client = await rawClient(starting.path)
  const errorOf = async (cookie: bigint) => {
    const chunk = await client.chunk()
    assert.equal(chunk.cookie, cookie)
    assert.equal(chunk.type, 0x8001)
    return chunk.data.readUInt32BE(0)
  }
  client.request(1, 1n, 0, 5000)
  client.socket.write(Buffer.alloc(5000, 0x25))
  assert.equal(await errorOf(1n), 1)
  client.read(2n, 2 ** 30 - 1, 2)
  assert.equal(await errorOf(2n), 22)
  client.read(3n, Number.MAX_SAFE_INTEGER, 1)
  assert.equal(await errorOf(3n), 22)
  client.read(4n, 0, 33 << 20)
  assert.equal(await errorOf(4n), 22)
  client.read(5n, 0, 0)
  assert.equal(await errorOf(5n), 22)
  client.request(99, 6n, 0, 1)
  assert.equal(await errorOf(6n), 22)
  client.request(7, 7n, 0, 4096) // block status without its context
  assert.equal(await errorOf(7n), 22)
  client.request(5, 8n, 0, 1 << 20)
  const cached = await client.chunk()
  assert.deepEqual([cached.cookie, cached.type, cached.done], [8n, 0, true])
  // one chunk only when the client asks for it, zeros as bytes then
  client.read(9n, imageSize() - 4096, 8192, 4)
  const whole = await client.chunk()
  assert.deepEqual([whole.type, whole.done, whole.data.length], [1, true, 8200])
  client.read(10n, imageSize() - 4096, 8192)
  assert.equal((await client.chunk()).type, 1)
  const hole = await client.chunk()
  assert.deepEqual([hole.type, hole.done, hole.data.readUInt32BE(8)], [2, true, 4096])
  client.socket.destroy()
})

test('a client that asks for much and fetches nothing is not read from any more', async () => {
  const starting = serve()
  await using server = await starting
  server.bind(diskOn(memory(), 64 << 20))
  const client = await rawClient(starting.path)
  for (let n = 0n; n < 600n; n++) client.read(n, 0, 1 << 20)
  await sleep(300)
  const { requests } = server.stat()
  assert.ok(requests < 200, `${requests} requests taken`)
  const answered = new Set<bigint>()
  // an answer has a chunk for each run of data and of zeros
  while (answered.size < 600) answered.add((await client.chunk()).cookie)
  client.socket.destroy()
})

test('garbage closes its connection and nothing else', async () => {
  const starting = serve()
  await using server = await starting
  server.bind(diskOn(memory()))
  const good = await rawClient(starting.path)
  const opening = Buffer.concat([
    Buffer.from([0, 0, 0, 3]),
    Buffer.from('IHAVEOPT\0\0\0\x08\0\0\0\0IHAVEOPT\0\0\0\x0a\0\0\0\x1f\0\0\0\0\0\0\0\x01\0\0\0\x0fbase:allocation'),
    Buffer.from('IHAVEOPT\0\0\0\x07\0\0\0\x08\0\0\0\0\0\x01\0\x03'),
    Buffer.from('25609513000000000000000000000001000000000000000000001000', 'hex'),
    Buffer.from('25609513000000070000000000000002000000000000000000001000', 'hex'),
  ])
  const tries: Buffer[] = []
  for (let cut = 0; cut <= opening.length; cut++) tries.push(opening.subarray(0, cut))
  for (let n = 0; n < 300; n++) {
    const spoilt = Buffer.from(opening)
    const random = noise(8, n + 1)
    spoilt[random.readUInt16LE(0) % spoilt.length] = random[2]!
    if (n % 2) spoilt[random.readUInt16LE(4) % spoilt.length] = random[6]!
    tries.push(spoilt)
  }
  for (const bytes of tries) {
    const socket = connect(starting.path)
    socket.on('error', () => {})
    socket.resume()
    await new Promise<void>((resolve) => {
      socket.on('close', () => resolve())
      socket.end(bytes)
    })
  }
  good.read(1n, 0, 4096)
  assert.equal((await good.chunk()).type, 1)
  await until('only the good connection left', 20_000, () => server.stat().connections === 1)
  good.socket.destroy()
})

test('QEMU waits through a restart of the server', async () => {
  const path = join(dir, 'restart')
  const gate = Promise.withResolvers<void>()
  const source = memory()
  const slow: ChunkSource = {
    async get(id) {
      await gate.promise
      return source.get(id)
    },
  }
  const first = await serveNbd({ name: 'vm-1', socket: path, size: imageSize() })
  first.bind(diskOn(slow))
  const driver = `driver=nbd,server.type=unix,server.path=${path},export=vm-1,reconnect-delay=60`
  const converted = join(dir, 'converted')
  const converting = run('qemu-img', ['convert', '-O', 'raw', '--image-opts', driver, converted])
  await until('a read', 20_000, () => first.stat().requests > 0)
  await first[Symbol.asyncDispose]()
  await using second = await serveNbd({ name: 'vm-1', socket: path, size: imageSize() })
  second.bind(diskOn(source))
  await converting
  await run('cmp', [image, converted])
})

test('a disk larger than the export is refused', async () => {
  await using server = await serve({ size: 4096 })
  assert.throws(() => server.bind(diskOn(memory())), { code: 'disk-too-large' })
})

test('the socket is for its owner only, and goes with the export', async () => {
  const starting = serve({ uid: 1234, gid: 1234 })
  const server = await starting
  const { mode, uid } = statSync(starting.path)
  assert.deepEqual([mode & 0o777, uid], [0o600, process.getuid?.() === 0 ? 1234 : process.getuid?.()])
  await server[Symbol.asyncDispose]()
  assert.throws(() => statSync(starting.path))
})
