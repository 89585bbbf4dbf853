import { pipeline, type Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { ZosError } from '#codec'

const READ = 1 << 20
/** So many bytes tell every kind below. */
const TELLING = 6

/** What unpacks the bytes that begin with HEAD, by what they are; undefined where they are neither gzip nor zstd. */
export function decompressor(head: Buffer): Transform | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return createGunzip({ chunkSize: READ })
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return createZstdDecompress({ chunkSize: READ })
  return undefined
}

/** Programs that unpack what we do not, by what begins it. */
const OTHERS = [
  { program: 'bzip2', begins: Buffer.from('BZh') },
  { program: 'xz', begins: Buffer.from('\xfd7zXZ\0', 'latin1') },
]

/** Says what unpacks the bytes that begin with HEAD, where that is neither of those above nor plain. */
export function refuseOthers(head: Buffer, what: string): void {
  const other = OTHERS.find(({ begins }) => head.subarray(0, begins.length).equals(begins))
  if (!other) return
  const { program } = other
  throw new ZosError(
    `Read archive ${what}: it is compressed with ${program}; unpack it with "${program} -dc", or compress it with gzip or zstd`,
    { code: 'bad-archive' },
  )
}

/** The archive in SOURCE, unpacked where it is compressed with gzip or zstd. WHAT names it in messages. */
export async function* uncompressed(source: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer> {
  const reader = source[Symbol.asyncIterator]()
  const first: Buffer[] = []
  for (let length = 0; length < TELLING; ) {
    const { value, done } = await reader.next()
    if (done) break
    first.push(value)
    length += value.length
  }
  const head = Buffer.concat(first)
  refuseOthers(head, what)
  const whole = (async function* () {
    yield head
    yield* { [Symbol.asyncIterator]: () => reader }
  })()
  const unpack = decompressor(head)
  // an error of either end comes out of the last stream, which is read here
  yield* unpack ? (pipeline(whole, unpack, () => {}) as AsyncIterable<Buffer>) : whole
}
