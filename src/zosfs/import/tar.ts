import type { Header } from 'tar-stream'
import { ZosError } from '#codec'
import { LIMITS } from '../flist/layout.ts'
import type { Xattr } from '../types.ts'
import { fileWriter } from './file_writer.ts'
import type { Sink } from './sink.ts'
import { type Entry, type Pax, paxTime, readEntries, show } from './tar_reader.ts'
import { type Meta, opaque, place, placeLink, type Tree, whiteout } from './tree.ts'

const XATTR = 'SCHILY.xattr.'
const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'
/** Other names AUFS keeps for itself (OCI image-spec layer.md). */
const AUFS = '.wh..wh.'
/** Far more than any real image has; a million would be an attack on whoever lists them. */
const DEVICE_LIMIT = 10_000

function metaOf(header: Header, pax: Pax, path: string): Meta {
  const number = (key: string, fallback: number): number => {
    const value = pax[key] === undefined ? fallback : Number(pax[key])
    if (Number.isInteger(value) && value >= 0 && value <= LIMITS.id) return value
    throw new ZosError(`Import "${show(path)}": its ${key} is ${value}, not a number from 0 to ${LIMITS.id}`, {
      code: 'bad-entry',
    })
  }
  const seconds = Math.floor(header.mtime.getTime() / 1000)
  const xattrs: Xattr[] = []
  for (const [key, value] of Object.entries(pax)) {
    if (!key.startsWith(XATTR)) continue
    xattrs.push({ name: Buffer.from(key.slice(XATTR.length), 'latin1'), value: Buffer.from(value, 'latin1') })
  }
  xattrs.sort((a, b) => a.name.compare(b.name))
  return {
    mode: header.mode & 0o7777,
    uid: number('uid', header.uid),
    gid: number('gid', header.gid),
    mtime: paxTime(pax.mtime ?? '') ?? { seconds: BigInt(Number.isFinite(seconds) ? seconds : 0), nanoseconds: 0 },
    xattrs,
  }
}

/** The data segments of a sparse file, from what GNU tar writes into a PAX header; undefined for plain files. */
type Sparse = { path: string; size: number; map: number[] | undefined }
function sparseOf(header: Header, pax: Pax): Sparse | undefined {
  const known = pax['GNU.sparse.major'] === '1' || pax['GNU.sparse.map'] !== undefined
  if (!known) {
    if (pax['GNU.sparse.numblocks'] === undefined) return undefined
    throw new ZosError(
      `Import "${show(header.name)}": sparse format 0.0 is not read; write it with --sparse-version=1.0`,
      {
        code: 'bad-entry',
      },
    )
  }
  const size = Number(pax['GNU.sparse.realsize'] ?? pax['GNU.sparse.size'])
  return { path: pax['GNU.sparse.name'] ?? header.name, size, map: pax['GNU.sparse.map']?.split(',').map(Number) }
}

/** The map of sparse format 1.0 at the front of the data: decimal lines, padded to whole records of 512 bytes. */
function leadingMap(head: Buffer): { map: number[]; used: number } | undefined {
  const numbers: number[] = []
  for (let at = 0; ; ) {
    const end = head.indexOf(0x0a, at)
    if (end < 0) return undefined
    numbers.push(Number(head.toString('latin1', at, end)))
    at = end + 1
    if (numbers.length === 1 + 2 * numbers[0]!) return { map: numbers.slice(1), used: Math.ceil(at / 512) * 512 }
  }
}

const MAP_LIMIT = 1 << 20

async function readSparse(sink: Sink, entry: Entry, sparse: Sparse) {
  const path = show(sparse.path)
  const bad = (why: string): never => {
    throw new ZosError(`Import "${path}": ${why}`, { code: 'bad-entry', details: { path } })
  }
  if (!Number.isSafeInteger(sparse.size) || sparse.size < 0) bad('its sparse size is not a number')
  const writer = fileWriter(sink, sparse.size, path)
  let { map } = sparse
  let head = Buffer.alloc(0)
  let segment = 0
  let at = 0 // in the file
  const advance = async (bytes: Buffer) => {
    for (let from = 0; from < bytes.length; ) {
      while (segment < map!.length && at >= map![segment]! + map![segment + 1]! && at >= map![segment]!) segment += 2
      const [offset, length] = [map![segment], map![segment + 1]]
      if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length))
        return bad('it has more data than its sparse map')
      if (offset! > at) {
        await writer.gap(offset! - at)
        at = offset!
      }
      const part = bytes.subarray(from, from + offset! + length! - at)
      await writer.data(part)
      from += part.length
      at += part.length
    }
  }
  for await (const bytes of entry) {
    if (map) {
      await advance(bytes)
      continue
    }
    head = Buffer.concat([head, bytes])
    const found = leadingMap(head)
    if (!found && head.length > MAP_LIMIT) bad('its sparse map has no end')
    if (!found || head.length < found.used) continue
    map = found.map
    await advance(head.subarray(found.used))
  }
  for (let n = 0, end = 0; n < (map?.length ?? 0); n += 2) {
    const [offset = Number.NaN, length = Number.NaN] = map!.slice(n, n + 2)
    if (!(offset >= end && length >= 0)) bad('its sparse map is not in order')
    if (length > 0 && offset + length > at) bad('it has less data than its sparse map')
    end = offset + length
  }
  if (sparse.size > at) await writer.gap(sparse.size - at)
  return writer.finish()
}

/** Puts one entry of LAYER into the tree. */
async function takeEntry(
  tree: Tree,
  sink: Sink,
  layer: number,
  header: Header,
  pax: Pax,
  entry: Entry,
  seen: { devices: number },
) {
  const sparse = header.type === 'file' || header.type === 'contiguous-file' ? sparseOf(header, pax) : undefined
  const path = sparse?.path ?? header.name
  const trimmed = path.replace(/\/+$/, '')
  const slash = trimmed.lastIndexOf('/')
  const name = trimmed.slice(slash + 1)
  if (name.startsWith(WHITEOUT)) {
    const directory = trimmed.slice(0, Math.max(0, slash))
    if (name === OPAQUE) opaque(tree, directory, layer)
    else if (!name.startsWith(AUFS)) whiteout(tree, directory, name.slice(WHITEOUT.length), layer)
    return
  }
  const meta = metaOf(header, pax, path)
  switch (header.type) {
    case 'directory':
      return place(tree, path, { meta, type: 'directory', children: new Map() }, layer)
    case 'file':
    case 'contiguous-file': {
      if (sparse) return place(tree, path, { meta, type: 'file', data: await readSparse(sink, entry, sparse) }, layer)
      const writer = fileWriter(sink, header.size ?? 0, show(path))
      if (header.size) for await (const bytes of entry) await writer.data(bytes)
      return place(tree, path, { meta, type: 'file', data: await writer.finish() }, layer)
    }
    case 'link':
      return placeLink(tree, path, header.linkname ?? '', layer)
    case 'symlink': {
      const target = Buffer.from(header.linkname ?? '', 'latin1')
      if (target.length > 0 && target.length <= LIMITS.target && !target.includes(0)) {
        return place(tree, path, { meta, type: 'symlink', target }, layer)
      }
      throw new ZosError(`Import "${show(path)}": a symbolic link to ${target.length} bytes that are no path`, {
        code: 'bad-entry',
      })
    }
    case 'character-device':
    case 'block-device': {
      const { devmajor: major, devminor: minor } = header
      if (!(major >= 0 && major <= LIMITS.major && minor >= 0 && minor <= LIMITS.minor)) {
        throw new ZosError(`Import "${show(path)}": no device has the number ${major}:${minor}`, { code: 'bad-entry' })
      }
      if (++seen.devices > DEVICE_LIMIT) {
        throw new ZosError(`Import "${show(path)}": more than ${DEVICE_LIMIT} device nodes`, { code: 'tree-too-large' })
      }
      const type = header.type === 'block-device' ? 'block' : 'character'
      return place(tree, path, { meta, type, major, minor }, layer)
    }
    case 'fifo':
      return place(tree, path, { meta, type: 'fifo' }, layer)
    default:
      throw new ZosError(
        `Import "${show(path)}": its kind is not one of POSIX tar's (GNU sparse or multi-volume?); write it with --format=posix`,
        { code: 'bad-entry', details: { path: show(path) } },
      )
  }
}

/** Applies an uncompressed archive to the tree as layer number LAYER. WHAT names it in messages. */
export function readTar(
  tree: Tree,
  sink: Sink,
  layer: number,
  source: AsyncIterable<Buffer>,
  what: string,
): Promise<void> {
  const seen = { devices: 0 }
  return readEntries(source, what, (header, pax, entry) => takeEntry(tree, sink, layer, header, pax, entry, seen))
}
