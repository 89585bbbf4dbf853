import { zstdDecompressSync } from 'node:zlib'
import { ZosError } from '#codec'

// Offsets of the x86 boot protocol: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"
const SETUP_SECTS = 0x1f1
const HEADER_MAGIC = 0x202
const PROTOCOL = 0x206
const PAYLOAD_OFFSET = 0x248
const PAYLOAD_LENGTH = 0x24c
/** payload_offset exists since protocol 2.08. */
const PROTOCOL_WITH_PAYLOAD = 0x208
const ZSTD_MAGIC = 0xfd2fb528
const ELF_MAGIC = 0x464c457f
/** More than any distribution kernel unpacks to: bounds what a broken length field can make us allocate. */
const LARGEST_KERNEL = 256 << 20

function refuse(reason: string): never {
  throw new ZosError(`Unpack the guest kernel: ${reason}; delete the kernel folder in the cache and set up again`, {
    code: 'bad-kernel',
    kind: 'node',
  })
}

/** The uncompressed ELF kernel inside BZIMAGE: QEMU boots that through PVH about a second sooner under TCG. */
export function extractVmlinux(bzImage: Buffer): Buffer {
  if (bzImage.length < 0x260 || bzImage.toString('latin1', HEADER_MAGIC, HEADER_MAGIC + 4) !== 'HdrS')
    refuse('it is no bzImage')
  if (bzImage.readUInt16LE(PROTOCOL) < PROTOCOL_WITH_PAYLOAD) refuse('its boot protocol is older than 2.08')
  // boot.rst: a setup_sects of 0 means 4
  const setup = ((bzImage[SETUP_SECTS] || 4) + 1) * 512
  const start = setup + bzImage.readUInt32LE(PAYLOAD_OFFSET)
  const length = bzImage.readUInt32LE(PAYLOAD_LENGTH)
  if (length < 8 || start + length > bzImage.length) refuse('its payload lies outside the file')
  const payload = bzImage.subarray(start, start + length)
  if (payload.readUInt32LE(0) !== ZSTD_MAGIC) refuse('its payload is not zstd')
  // the build appends the unpacked size to every payload whose format does not end with it
  const size = payload.readUInt32LE(length - 4)
  if (size > LARGEST_KERNEL) refuse(`it claims ${size} bytes`)
  let vmlinux: Buffer
  try {
    vmlinux = zstdDecompressSync(payload.subarray(0, length - 4), { maxOutputLength: LARGEST_KERNEL })
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error))
  }
  if (vmlinux.length !== size || vmlinux.readUInt32LE(0) !== ELF_MAGIC) refuse('what it holds is no whole ELF file')
  return vmlinux
}
