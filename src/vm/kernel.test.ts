import assert from 'node:assert/strict'
import test from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { signedByOf } from './apt.ts'
import { extractVmlinux } from './bzimage.ts'

/** A bzImage of one setup sector with ELF-looking content of SIZE bytes. */
function bzImage(size = 5000): { image: Buffer; elf: Buffer } {
  const elf = Buffer.alloc(size, 'kernel')
  elf.writeUInt32LE(0x464c457f, 0)
  const packed = zstdCompressSync(elf)
  const trailer = Buffer.alloc(4)
  trailer.writeUInt32LE(size)
  const setup = Buffer.alloc(1024)
  setup[0x1f1] = 1
  setup.write('HdrS', 0x202, 'latin1')
  setup.writeUInt16LE(0x20f, 0x206)
  setup.writeUInt32LE(100, 0x248)
  setup.writeUInt32LE(packed.length + 4, 0x24c)
  return { image: Buffer.concat([setup, Buffer.alloc(100), packed, trailer]), elf }
}

test('the ELF kernel comes out of a bzImage whole', () => {
  const { image, elf } = bzImage()
  assert.deepEqual(extractVmlinux(Buffer.concat([image, Buffer.alloc(512)])), elf)
})

test('a bzImage cut off anywhere is refused, never half unpacked', () => {
  const { image } = bzImage()
  for (let length = 0; length < image.length; length++)
    assert.throws(() => extractVmlinux(image.subarray(0, length)), /Unpack the guest kernel/, `at ${length}`)
})

test('a flipped byte gives the right kernel or a refusal', () => {
  const { image, elf } = bzImage()
  for (let at = 0; at < image.length; at++) {
    const bad = Buffer.from(image)
    bad[at]! ^= 0x41
    try {
      // zstd frames of this size carry no checksum by default, so content may differ; its length may not
      assert.equal(extractVmlinux(bad).length, elf.length)
    } catch (error) {
      assert.match(String(error), /Unpack the guest kernel/)
    }
  }
})

test('the signing key is found in both styles of sources', () => {
  const deb822 =
    '# comment\nTypes: deb\nURIs: x\nSigned-By: /a.gpg\n\nTypes: deb\n# c\nSigned-By:\n -----BEGIN\n .\n end\n'
  assert.equal(signedByOf('/x/debian.sources', deb822, 1), '/a.gpg')
  assert.equal(signedByOf('/x/debian.sources', deb822, 2), '-----BEGIN\n .\n end')
  assert.equal(signedByOf('/x/debian.sources', deb822, 3), undefined)
  const list = '# one\ndeb [arch=amd64 signed-by=/b.gpg] uri suite main\ndeb uri suite main\n'
  assert.equal(signedByOf('/x/sources.list', list, 2), '/b.gpg')
  assert.equal(signedByOf('/x/sources.list', list, 3), undefined)
})
