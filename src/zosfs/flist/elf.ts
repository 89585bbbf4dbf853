/** What the dynamic linker needs to know of an ELF file; strings are latin1. */
export type Elf = {
  /** e_machine and class together: libraries of another kind are passed over. */
  kind: string
  interpreter: string | undefined
  needed: string[]
  rpath: string[]
  runpath: string[]
}

/** Reads LENGTH bytes of the file from AT on; fewer at its end. */
export type ReadAt = (at: number, length: number) => Promise<Buffer>

const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
const DT_NEEDED = 1
const DT_STRTAB = 5
const DT_STRSZ = 10
const DT_RPATH = 15
const DT_RUNPATH = 29

/** More than any real file has; a hostile one stops here. */
const LIMIT = { headers: 256, dynamic: 64 << 10, strings: 8 << 20, needed: 512 }

/** Parses an ELF file, 32 or 64 bits, little-endian (System V ABI); undefined for everything else and for damaged ones. */
export async function readElf(read: ReadAt): Promise<Elf | undefined> {
  try {
    return await parse(read)
  } catch (error) {
    if (error instanceof RangeError) return undefined // points outside itself
    throw error
  }
}

async function parse(read: ReadAt): Promise<Elf | undefined> {
  const head = await read(0, 64)
  if (head.length < 52 || head.readUInt32BE(0) !== 0x7f454c46 || head[5] !== 1) return undefined
  const wide = head[4] === 2
  const word = (bytes: Buffer, at: number) => (wide ? Number(bytes.readBigUInt64LE(at)) : bytes.readUInt32LE(at))
  const size = head.readUInt16LE(wide ? 54 : 42)
  const count = Math.min(head.readUInt16LE(wide ? 56 : 44), LIMIT.headers)
  const table = await read(word(head, wide ? 32 : 28), size * count)
  const elf: Elf = {
    kind: `${head[4]} ${head.readUInt16LE(18)}`,
    interpreter: undefined,
    needed: [],
    rpath: [],
    runpath: [],
  }

  const loads: { at: number; address: number; length: number }[] = []
  let dynamic: { at: number; length: number } | undefined
  for (let n = 0; n < count; n++) {
    const header = table.subarray(n * size, (n + 1) * size)
    const type = header.readUInt32LE(0)
    const at = word(header, wide ? 8 : 4)
    const length = word(header, wide ? 32 : 16)
    if (type === PT_LOAD) loads.push({ at, address: word(header, wide ? 16 : 8), length })
    else if (type === PT_DYNAMIC) dynamic = { at, length: Math.min(length, LIMIT.dynamic) }
    else if (type === PT_INTERP && length < 4096) elf.interpreter = text(await read(at, length), 0)
  }
  if (!dynamic) return elf

  const bytes = await read(dynamic.at, dynamic.length)
  const step = wide ? 8 : 4
  const offsets: [tag: number, offset: number][] = []
  let stringsAddress = 0
  let stringsLength = 0
  for (let at = 0; at + 2 * step <= bytes.length; at += 2 * step) {
    const tag = word(bytes, at)
    const value = word(bytes, at + step)
    if (tag === 0) break
    if (tag === DT_STRTAB) stringsAddress = value
    else if (tag === DT_STRSZ) stringsLength = Math.min(value, LIMIT.strings)
    else if (tag === DT_NEEDED || tag === DT_RPATH || tag === DT_RUNPATH) offsets.push([tag, value])
  }
  const load = loads.find(({ address, length }) => stringsAddress >= address && stringsAddress < address + length)
  if (!load) return elf
  const strings = await read(load.at + stringsAddress - load.address, stringsLength)
  for (const [tag, offset] of offsets.slice(0, LIMIT.needed)) {
    const value = text(strings, offset)
    if (tag === DT_NEEDED) elf.needed.push(value)
    else (tag === DT_RPATH ? elf.rpath : elf.runpath).push(...value.split(':').filter(Boolean))
  }
  return elf
}

/** The NUL-terminated string at AT. */
function text(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at)
  return bytes.toString('latin1', at, end < 0 ? bytes.length : end)
}
