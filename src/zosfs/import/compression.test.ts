import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { uncompressed } from './compression.ts'

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function read(bytes: Buffer, size = 1 << 16): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of uncompressed(cut(bytes, size), 'from a test')) parts.push(part)
  return Buffer.concat(parts)
}

const whole = Buffer.concat([Buffer.alloc(200_000, 'text '), randomBytes(100_000)])
const halves = [whole.subarray(0, 150_000), whole.subarray(150_000)]
/** Source: RFC 8878, 3.1.2 "Skippable Frames". */
const skippable = Buffer.from('502a4d18040000000badcafe', 'hex')

test('gzip and zstd are unpacked, in several members too, however they are cut; all else is as it was', async () => {
  const forms = {
    plain: whole,
    gzip: gzipSync(whole),
    'gzip twice': Buffer.concat(halves.map((h) => gzipSync(h))),
    zstd: zstdCompressSync(whole),
    'zstd twice': Buffer.concat([...halves.map((h) => zstdCompressSync(h)), skippable]),
  }
  for (const [form, bytes] of Object.entries(forms))
    for (const size of [1 << 20, 997]) assert.ok(whole.equals(await read(bytes, size)), `${form} in cuts of ${size}`)
  assert.ok(halves[0]!.subarray(0, 500).equals(await read(gzipSync(halves[0]!.subarray(0, 500)), 1)))
  for (const short of ['', 'B', 'BZ']) assert.equal(String(await read(Buffer.from(short))), short)
})

test('what ends too soon is an error, and other kinds of compression are refused with what to do', async () => {
  for (const bytes of [gzipSync(whole), zstdCompressSync(whole)])
    await assert.rejects(read(bytes.subarray(0, bytes.length / 2)))
  for (const [program, begins] of [
    ['bzip2', 'BZh91AY'],
    ['xz', '\xfd7zXZ\0\0'],
  ] as const) {
    for (const size of [1, 100]) {
      const said = {
        code: 'bad-archive',
        message: new RegExp(`from a test: it is compressed with ${program}; .*"${program} -dc"`),
      }
      await assert.rejects(read(Buffer.from(begins, 'latin1'), size), said)
    }
  }
})
