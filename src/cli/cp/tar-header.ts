import type { CopyEntry } from '#vm'

const BLOCK = 512
/** What the fields of a ustar header hold; more goes into a PAX record before it (POSIX pax, "ustar Interchange Format"). */
const PLAIN_NAME = /^[\x20-\x7e]{1,99}$/
const LARGEST_ID = 0o777777
const LARGEST_SIZE = 0o77777777777

const TYPES: Record<CopyEntry['type'], string> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
}

type Fields = { name: string; mode: number; uid: number; gid: number; size: number; mtime: number; type: string }
type More = { linkname?: string | undefined; major?: number | undefined; minor?: number | undefined }

function headerBlock({ name, mode, uid, gid, size, mtime, type, linkname, major, minor }: Fields & More): Buffer {
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, at: number, width: number) =>
    block.write(value.toString(8).padStart(width - 1, '0'), at, 'latin1')
  block.write(name, 0, 'latin1')
  octal(mode, 100, 8)
  octal(uid, 108, 8)
  octal(gid, 116, 8)
  octal(size, 124, 12)
  octal(mtime, 136, 12)
  block.write(' '.repeat(8), 148, 'latin1') // the checksum counts itself as spaces
  block.write(type, 156, 'latin1')
  block.write(linkname ?? '', 157, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  octal(major ?? 0, 329, 8)
  octal(minor ?? 0, 337, 8)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0`, 148, 'latin1')
  return block
}

/** `LENGTH KEY=VALUE\n`, LENGTH counting itself (POSIX pax, "pax Extended Header"). */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`, 'latin1')
  let length = rest.length
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** Zeros that fill the last block of SIZE bytes. */
export const padding = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)

/** The end of an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK)

/** The header of ENTRY in an archive, with PAX records for what a plain one cannot hold; its names are latin1. */
export function tarHeader(entry: CopyEntry): Buffer {
  const { mode, major, minor } = entry
  const early = entry.mtime.startsWith('-')
  const digits = entry.mtime.replace('-', '').padStart(10, '0')
  const [seconds, fraction] = [digits.slice(0, -9), digits.slice(-9)]
  const records: Buffer[] = []
  const name = (key: string, text: string) => {
    if (PLAIN_NAME.test(text)) return text
    records.push(paxRecord(key, text))
    return text.replace(/[^\x20-\x7e]/g, '?').slice(-90)
  }
  const number = (key: string, value: number, largest: number) => {
    if (value > largest) records.push(paxRecord(key, String(value)))
    return Math.min(value, largest)
  }
  if (early || Number(fraction) > 0) records.push(paxRecord('mtime', `${early ? '-' : ''}${seconds}.${fraction}`))
  const header = headerBlock({
    name: name('path', entry.path),
    mode,
    type: TYPES[entry.type],
    mtime: early ? 0 : Number(seconds),
    major,
    minor,
    uid: number('uid', entry.uid, LARGEST_ID),
    gid: number('gid', entry.gid, LARGEST_ID),
    size: number('size', entry.size, LARGEST_SIZE),
    linkname: entry.linkname === undefined ? undefined : name('linkpath', entry.linkname),
  })
  if (records.length === 0) return header
  const pax = Buffer.concat(records)
  const extended = { name: 'PaxHeader', mode: 0o644, uid: 0, gid: 0, size: pax.length, mtime: 0, type: 'x' }
  return Buffer.concat([headerBlock(extended), pax, padding(pax.length), header])
}
