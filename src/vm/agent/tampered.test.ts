// What comes from the disk is checked in the guest once more: the storage process, the socket and QEMU may all be wrong.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { chunkCache, loadManifest, openDisk, openLibrary, publish, serveNbd } from '#zosfs'
import { DISK_SIZE } from '../args.ts'
import { ask, COLD_BOOT } from './ask.fixture.ts'
import { connectAgent } from './client.ts'
import { bootVm, makeRoot, missing, processOf, startSpec } from './vm.fixture.ts'

const ROUNDS = process.env.ZOS_NIGHTLY === '1' ? 40 : 3

/** Between the NBD server at TO and whoever connects to FROM: flips one bit of `mark` wherever it passes, as often as it does. */
async function relay(from: string, to: string) {
  const it = { mark: undefined as Buffer | undefined, flipped: 0 }
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const storage = connect(to)
    for (const socket of [client, storage]) sockets.add(socket.on('error', () => {}))
    client.pipe(storage)
    storage.on('data', (bytes: Buffer) => {
      const at = it.mark ? bytes.indexOf(it.mark) : -1
      if (at >= 0) {
        bytes[at]! ^= 1 << randomInt(8)
        it.flipped++
      }
      if (client.write(bytes)) return
      storage.pause()
      client.once('drain', () => storage.resume())
    })
  })
  await new Promise<void>((done) => server.listen(from, done))
  return Object.assign(it, {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((done) => server.close(done))
    },
  })
}

test('a bit that flips in the NBD stream is an I/O error to who reads it, never data; put right, it is read', {
  skip: missing() ?? false,
  timeout: 280_000 + ROUNDS * 10_000,
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-tampered-'))
  try {
    const made = await makeRoot(dir)
    await using library = openLibrary({ home: join(dir, 'home') })
    const { digest, root } = await publish(library, `dir:${join(dir, 'tree')}`, 'it')
    const manifest = await loadManifest(library.store, digest)
    const [storage, socket] = [join(dir, 'storage'), join(dir, 'relay')]
    await using server = await serveNbd({ name: '', socket: storage, size: DISK_SIZE })
    server.bind(openDisk(manifest, chunkCache(library.store, 64 << 20)))
    await using between = await relay(socket, storage)
    await using vm = await bootVm(join(dir, 'a'), { ...made, nbd: socket })
    await using agent = await connectAgent(vm.socket, { fresh: true, timeout: COLD_BOOT })
    const { dataBlocks } = manifest.disk
    const served = { dataBlocks, hashStart: dataBlocks, rootHash: root }
    await agent.start(startSpec({ ...made, root: served }, processOf('sleep', '1000')))
    const read = () => ask(agent, ['sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches; cat /data.bin'])
    assert.ok((await read()).out.equals(made.data))

    for (let round = 0; round < ROUNDS; ) {
      between.flipped = 0
      const at = randomInt(made.data.length - 16)
      between.mark = made.data.subarray(at, at + 16)
      const spoiled = await read()
      if (between.flipped === 0) continue // it came in two pieces
      assert.equal(spoiled.exit.code, 1, `byte ${at}`)
      assert.match(spoiled.err, /Input\/output error/)
      assert.ok(spoiled.out.length <= at, `${spoiled.out.length} bytes came, byte ${at} was wrong`)
      assert.ok(spoiled.out.equals(made.data.subarray(0, spoiled.out.length)))
      round++
    }
    assert.match((await ask(agent, ['dmesg'])).text, /verity.*corrupted/)

    between.mark = undefined
    assert.ok((await read()).out.equals(made.data))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
