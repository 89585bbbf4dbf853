import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { ZosError } from '#codec'
import { until } from '#sys'
import { type ChunkSource, chunkCache } from '../disk/chunk-cache.ts'
import { type Disk, openDisk } from '../disk/disk.ts'
import { type Fixture, fixture, noise, type Spec } from '../disk/fixture.ts'
import type { ChunkId } from '../types.ts'
import { type ExportOptions, type NbdExport, serveNbd } from './server.ts'

export let dir: string
export let tree: Fixture
export let image: string

before(() => {
  dir = mkdtempSync(join(tmpdir(), 'zos-nbd-'))
  const specs: Spec[] = [{ path: 'sparse', data: Buffer.concat([Buffer.alloc(300_000), noise(5000, 1)]) }]
  for (let n = 0; n < 40; n++) specs.push({ path: `f${n}`, data: noise(1 + n * 20_011, n) })
  tree = fixture(specs)
  image = join(dir, 'image')
  writeFileSync(image, tree.image())
})
after(() => rmSync(dir, { recursive: true, force: true }))

export const memory = (chunks = tree.chunks): ChunkSource => ({
  async get(id: ChunkId) {
    const plain = chunks.get(id.toString('hex'))
    if (!plain) throw new ZosError('Read chunk: gone', { code: 'chunk-missing' })
    return plain
  },
})
export const diskOn = (source: ChunkSource, limit = 1 << 20): Disk => openDisk(tree.manifest, chunkCache(source, limit))

let sockets = 0
export const serve = (options: Partial<ExportOptions> = {}): Promise<NbdExport> & { path: string; uri: string } => {
  const path = join(dir, `s${sockets++}`)
  return Object.assign(serveNbd({ name: 'vm-1', socket: path, ...options }), {
    path,
    uri: `nbd+unix:///vm-1?socket=${path}`,
  })
}
export const imageSize = () => statSync(image).size

/** A client that speaks the protocol byte by byte. */
export async function rawClient(path: string, { structured = true } = {}) {
  const socket: Socket = connect(path)
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  const take = async (n: number): Promise<Buffer> =>
    until(`${n} bytes`, 10_000, () => (n === 0 ? Buffer.alloc(0) : (socket.read(n) as Buffer | null)), 1)
  const option = (number: number, data: Buffer) => {
    const head = Buffer.alloc(16)
    head.write('IHAVEOPT')
    head.writeUInt32BE(number, 8)
    head.writeUInt32BE(data.length, 12)
    socket.write(Buffer.concat([head, data]))
  }
  const answer = async () => {
    const head = await take(20)
    return { type: head.readUInt32BE(12), data: await take(head.readUInt32BE(16)) }
  }
  const request = (type: number, cookie: bigint, offset: number, length: number, flags = 0) => {
    const out = Buffer.alloc(28)
    out.writeUInt32BE(0x25609513)
    out.writeUInt16BE(flags, 4)
    out.writeUInt16BE(type, 6)
    out.writeBigUInt64BE(cookie, 8)
    out.writeBigUInt64BE(BigInt(offset), 16)
    out.writeUInt32BE(length, 24)
    socket.write(out)
  }
  await take(18)
  socket.write(Buffer.from([0, 0, 0, 3]))
  if (structured) {
    option(8, Buffer.alloc(0))
    assert.equal((await answer()).type, 1)
  }
  option(7, Buffer.from([0, 0, 0, 0, 0, 0]))
  assert.equal((await answer()).type, 3)
  assert.equal((await answer()).type, 1)
  const chunk = async () => {
    const head = await take(20)
    assert.equal(head.readUInt32BE(0), 0x668e33ef)
    return {
      done: head.readUInt16BE(4) === 1,
      type: head.readUInt16BE(6),
      cookie: head.readBigUInt64BE(8),
      data: await take(head.readUInt32BE(16)),
    }
  }
  const read = (cookie: bigint, offset: number, length: number, flags = 0) => request(0, cookie, offset, length, flags)
  return { socket, take, request, read, chunk, option, answer }
}
