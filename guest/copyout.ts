import { putU32 } from '../src/vm/agent/protocol.ts'
import type { CopyEntry } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { entryOf, type Facts, factsOf } from './files.ts'
import { close, E, list, must, O, open, sys, writeAll } from './native.ts'

/** Deeper trees are refused: the walk's memory is bounded by depth times directory size. */
const DEPTH = 200
/** Their files are made up as they are read, some without an end: what is below is carried where it is named, not with all else. */
const MADE_UP = ['/proc', '/sys']

/** SEEN gets each entry, parents before children, names sorted; a regular file's bytes are read from FILE. */
export function walk(top: string, follow: boolean, seen: (entry: CopyEntry, file: string) => void): boolean {
  const linked = new Map<string, string>()
  const found = factsOf(top, '', follow)
  const left = new Set(MADE_UP.map((path) => factsOf(path, '', true)?.device))
  left.delete(found?.device)
  const visit = (file: string, path: string, facts: Facts, depth: number): void => {
    const id = `${facts.device} ${facts.inode}`
    const first = facts.type !== 'directory' && facts.links > 1 ? linked.get(id) : undefined
    if (first !== undefined) {
      seen({ ...entryOf(facts), type: 'hardlink', size: 0, linkname: first }, file)
      return
    }
    if (facts.links > 1) linked.set(id, path)
    seen(entryOf(facts), file)
    if (facts.type !== 'directory' || left.has(facts.device)) return
    if (depth === DEPTH) throw new Error(`Copy ${path}: more than ${DEPTH} levels of directories`)
    for (const name of list(file).sort()) {
      const below = factsOf(`${file}/${name}`, path === '' ? name : `${path}/${name}`, false)
      if (below) visit(`${file}/${name}`, below.path, below, depth + 1)
    }
  }
  if (found) visit(top, '', found, 0)
  return found !== null
}

const piece = new Uint8Array(65536)

/** Exactly SIZE bytes of FILE to TO: one that shrank is filled up with zeros, as tar does. */
export function pourFile(file: string, size: number, to: number): void {
  const fd = must(`Open ${file}`, open(file, O.RDONLY))
  try {
    let left = size
    while (left > 0) {
      const got = must(`Read ${file}`, sys('read', fd, piece, Math.min(left, piece.length)))
      if (got === 0) piece.fill(0)
      const length = got === 0 ? Math.min(left, piece.length) : got
      writeAll(to, piece.subarray(0, length))
      left -= length
    }
  } finally {
    close(fd)
  }
}

/** Of a file that says it has none, so many bytes are looked for. */
const UNSIZED = 16 << 20

/**
 * All bytes of a small FILE, which need not be the SIZE it says: those of /proc say that they have none, those of /sys have less. One
 * that only waits for something to come (/proc/kmsg) has none; so has one without a size that cannot be read, unless it is ASKED for.
 */
function wholeOf(file: string, size: number, asked: boolean): Uint8Array {
  const fd = must(`Open ${file}`, open(file, O.RDONLY | O.NONBLOCK))
  try {
    const most = size === 0 ? UNSIZED : size
    const parts: Uint8Array[] = []
    let length = 0
    for (let got = -1; got !== 0 && length < most; length += got) {
      got = sys('read', fd, piece, Math.min(piece.length, most - length))
      if (got === -E.EAGAIN || (got < 0 && size === 0 && !asked)) got = 0
      parts.push(piece.slice(0, must(`Read ${file}`, got)))
    }
    if (length === UNSIZED) throw new Error(`Copy ${file}: it does not say its size, and has ${UNSIZED} bytes or more`)
    return joined(parts, length)
  } finally {
    close(fd)
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function writeHeader(to: number, entry: CopyEntry | null): void {
  const json = entry ? encodeUtf8(JSON.stringify(entry)) : new Uint8Array(0)
  const header = new Uint8Array(4 + json.length)
  putU32(header, 0, json.length)
  header.set(json, 4)
  writeAll(to, header)
}

/** Records to standard output: u32 length, entry as JSON, the file's bytes; a length of 0 ends them. */
export function copyOut(path: string, follow: boolean): void {
  const found = walk(path, follow, (entry, file) => {
    if (entry.type !== 'file') return writeHeader(1, entry)
    if (entry.size > piece.length) {
      writeHeader(1, entry)
      return pourFile(file, entry.size, 1)
    }
    const whole = wholeOf(file, entry.size, entry.path === '')
    writeHeader(1, { ...entry, size: whole.length })
    writeAll(1, whole)
  })
  if (!found) throw new Error(`Copy ${path}: no such file or directory`)
  writeHeader(1, null)
}
