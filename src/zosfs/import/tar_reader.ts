import { type Header, extract as startExtract } from 'tar-stream'
import { reasonOf, ZosError } from '#codec'

/** Records of a PAX header, key and value as latin1. */
export type Pax = Record<string, string>
export type Entry = NodeJS.ReadableStream & AsyncIterable<Buffer>

/** PAX records as latin1, byte for byte. `LENGTH KEY=VALUE\n`, LENGTH counting itself (POSIX pax, "Extended Header"). */
function paxRecords(bytes: Buffer): Pax {
  const records: Pax = {}
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at)
    const length = Number(bytes.toString('latin1', at, space))
    const end = at + length
    const equals = bytes.indexOf(0x3d, space)
    const fits = space > at && Number.isInteger(length) && length > 0 && end <= bytes.length && bytes[end - 1] === 0x0a
    if (!fits || equals < 0 || equals >= end) {
      throw new ZosError(`Read archive: a damaged PAX header at its byte ${at}`, { code: 'bad-archive' })
    }
    records[bytes.toString('latin1', space + 1, equals)] = bytes.toString('latin1', equals + 1, end - 1)
    at = end
  }
  return records
}

/** A decimal number of seconds with up to nine places, exactly. */
export function paxTime(text: string): { seconds: bigint; nanoseconds: number } | undefined {
  const [, sign, whole, fraction = ''] = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text) ?? []
  if (whole === undefined) return undefined
  const nanoseconds = BigInt(whole) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'))
  const signed = sign ? -nanoseconds : nanoseconds
  const rest = ((signed % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return { seconds: (signed - rest) / 1_000_000_000n, nanoseconds: Number(rest) }
}

/**
 * Reads an uncompressed archive, calling TAKE for one entry after the other; names are latin1, byte for byte. What TAKE
 * leaves of an entry is skipped. WHAT names the archive in messages.
 */
export async function readEntries(
  source: AsyncIterable<Buffer>,
  what: string,
  take: (header: Header, pax: Pax, entry: Entry) => Promise<void>,
): Promise<void> {
  let failure: unknown
  const archive = startExtract({ filenameEncoding: 'latin1' } as object) // its types leave the option out
  // tar-stream reads PAX headers as UTF-8, which destroys binary attributes and names: read them as bytes instead
  const inner = archive as unknown as {
    _decodeLongHeader(bytes: Buffer): void
    _header: { type: string }
    _pax: Pax | null
    _paxGlobal: Pax | null
  }
  const decodeOther = inner._decodeLongHeader
  inner._decodeLongHeader = function (bytes) {
    if (this._header.type === 'pax-header') this._pax = { ...this._paxGlobal, ...paxRecords(bytes) }
    else if (this._header.type === 'pax-global-header') this._paxGlobal = paxRecords(bytes)
    else decodeOther.call(this, bytes)
  }
  archive.on('entry', (header, entry, next) => {
    entry.on('error', () => {}) // the archive's own error says it
    // tar-stream gives null for digits that are none, and would wait for the end of such an entry for ever
    const sized = Number.isSafeInteger(header.size) && header.size! >= 0
    const taken = sized
      ? take(header, (header.pax as Pax | null) ?? {}, entry as unknown as Entry)
      : Promise.reject(
          new ZosError(`Import "${show(header.name)}": its size is not a number of bytes`, { code: 'bad-entry' }),
        )
    taken.then(
      () => {
        entry.resume()
        next()
      },
      (error) => {
        failure = error
        archive.destroy(error instanceof Error ? error : new Error(String(error)))
      },
    )
  })
  try {
    const finished = new Promise<void>((resolve, reject) => {
      archive.on('finish', resolve)
      archive.on('error', reject)
      archive.on('close', () => reject(failure ?? new Error('it ends in the middle of an entry')))
    })
    finished.catch(() => {})
    for await (const bytes of source) {
      if (failure !== undefined) break
      if (!archive.write(bytes)) {
        await Promise.race([finished, new Promise((drained) => archive.once('drain', drained as () => void))])
      }
    }
    archive.end(undefined)
    await finished
  } catch (error) {
    archive.destroy(new Error('the archive is no longer read'))
    const cause = failure ?? error
    if (cause instanceof ZosError || (cause as Error)?.name === 'AbortError') throw cause
    throw new ZosError(`Read archive ${what}: ${reasonOf(cause)}`, { code: 'bad-archive', cause })
  }
}

/** For messages. */
export const show = (path: string) => Buffer.from(path.slice(0, 4096), 'latin1').toString()
