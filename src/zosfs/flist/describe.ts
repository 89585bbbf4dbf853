import type { Entry, Manifest } from '../types.ts'
import { lookup, own } from './lookup.ts'

/** One line of a listing, ready for JSON. Bytes that are not UTF-8 show as U+FFFD. */
export type Listed = {
  path: string
  type: Entry['type']
  /** Permission bits, octal. */
  mode: string
  uid: number
  gid: number
  /** RFC 3339 with nanoseconds; seconds since 1970 when the year does not fit. */
  mtime: string
  size?: number
  /** fs-verity digest of a regular file, when loaded. */
  fingerprint?: string
  /** Target of a symbolic link, or the path of the other name of a hard link. */
  target?: string
  device?: string
  xattrs?: Record<string, string>
}

/** Paths of all entries, in their order; the root is `/`. */
export function allPaths(manifest: Pick<Manifest, 'entries'>): string[] {
  const paths: string[] = []
  for (const [n, { parent, name }] of manifest.entries.entries()) {
    paths.push(n === 0 ? '/' : `${parent === 0 ? '' : paths[parent]}/${name}`)
  }
  return paths
}

function timeOf({ seconds, nanoseconds }: Entry['mtime']): string {
  const date = new Date(Number(seconds) * 1000)
  if (Number.isNaN(date.getTime())) return `${seconds}.${String(nanoseconds).padStart(9, '0')}`
  return date.toISOString().replace('.000Z', `.${String(nanoseconds).padStart(9, '0')}Z`)
}

function describe(entry: Entry, path: string, paths: readonly string[]): Listed {
  const { type, mode, uid, gid, mtime, xattrs } = entry
  return {
    path,
    type,
    mode: (mode & 0o7777).toString(8).padStart(4, '0'),
    uid,
    gid,
    mtime: timeOf(mtime),
    ...(type === 'file' ? { size: entry.size } : {}),
    ...(type === 'file' && entry.fingerprint ? { fingerprint: entry.fingerprint.toString('hex') } : {}),
    ...(type === 'symlink' ? { target: entry.target.toString() } : {}),
    ...(type === 'hardlink' ? { target: paths[entry.link]! } : {}),
    ...(type === 'character' || type === 'block' ? { device: `${entry.major}:${entry.minor}` } : {}),
    ...(xattrs.length > 0
      ? { xattrs: Object.fromEntries(xattrs.map(({ name, value }) => [name.toString(), value.toString('base64')])) }
      : {}),
  }
}

/** The entry PATH and, for a directory, everything below it; undefined when there is no such path. */
export function list(manifest: Pick<Manifest, 'entries'>, path = '/'): Listed[] | undefined {
  const at = lookup(manifest, Buffer.from(path).toString('latin1'), { follow: false })
  if (at === undefined) return undefined
  const paths = allPaths(manifest)
  const { entries } = manifest
  const listed: Listed[] = []
  const inside = new Set([at])
  for (let n = at; n < entries.length; n++) {
    // depth first: the first entry that is not inside ends it
    if (n > at && !inside.has(entries[n]!.parent)) break
    inside.add(n)
    listed.push(describe(entries[n]!, paths[n]!, paths))
  }
  return listed
}

/** What a manifest is about, without its entries: for `flist inspect --json`. */
export function inspect(manifest: Manifest, digest: string) {
  const { entries, packs, disk, layers, startClosure } = manifest
  const counts: Record<string, number> = {}
  let size = 0
  let holes = 0
  const ids = new Set<string>(packs.map(({ id }) => id.toString('latin1')))
  for (const entry of entries) {
    counts[entry.type] = (counts[entry.type] ?? 0) + 1
    if (entry.type !== 'file') continue
    size += entry.size
    if (entry.content.kind !== 'chunks') continue
    for (const id of entry.content.chunks) {
      if (id) ids.add(id.toString('latin1'))
      else holes++
    }
  }
  const paths = allPaths(manifest)
  return {
    format: 'zfl/1',
    digest,
    root: disk.root.toString('hex'),
    size,
    entries: counts,
    chunks: ids.size,
    packs: packs.length,
    holes,
    disk: {
      synthesiser: manifest.synthesiser,
      metadataDigest: disk.metadataDigest.toString('hex'),
      metadataBlocks: disk.metadataBlocks,
      dataBlocks: disk.dataBlocks,
      treeBlocks: disk.treeBlocks,
    },
    layers,
    startClosure: startClosure.map((n) => paths[n]!),
    config: JSON.parse(manifest.config.toString()) as unknown,
  }
}

export type Change = {
  path: string
  change: 'added' | 'removed' | 'changed'
  /** For `changed`: which of type, mode, owner, time, attributes, content, target, device, link. */
  what?: string[]
}

/** What leads from BEFORE to AFTER, by path. Both must be loaded with fingerprints. */
export function diff(before: Manifest, after: Manifest): Change[] {
  const index = (m: Manifest) => {
    const paths = allPaths(m)
    const map = new Map<string, number>()
    // latin1 of the bytes: two names that are not UTF-8 may look the same, and are not
    const keys: string[] = []
    for (const [n, { parent, name }] of m.entries.entries()) {
      keys.push(n === 0 ? '' : `${keys[parent]}/${name.toString('latin1')}`)
      map.set(keys[n]!, n)
    }
    return { paths, map, keys }
  }
  const a = index(before)
  const b = index(after)
  const changes: Change[] = []
  for (const [key, n] of a.map) {
    const other = b.map.get(key)
    if (other === undefined) changes.push({ path: a.paths[n]!, change: 'removed' })
    else {
      const what = differences(before, n, a.keys, after, other, b.keys)
      if (what.length > 0) changes.push({ path: a.paths[n]!, change: 'changed', what })
    }
  }
  for (const [key, n] of b.map) if (!a.map.has(key)) changes.push({ path: b.paths[n]!, change: 'added' })
  return changes.sort((x, y) => (x.path < y.path ? -1 : x.path > y.path ? 1 : 0))
}

function differences(
  before: Manifest,
  n: number,
  beforeKeys: readonly string[],
  after: Manifest,
  k: number,
  afterKeys: readonly string[],
): string[] {
  const x = own(before, n)
  const y = own(after, k)
  const first = before.entries[n]!
  const second = after.entries[k]!
  const linkOf = (entry: Entry, keys: readonly string[]) => (entry.type === 'hardlink' ? keys[entry.link] : undefined)
  const what: string[] = []
  if (x.type !== y.type) return ['type']
  if (x.mode !== y.mode) what.push('mode')
  if (x.uid !== y.uid || x.gid !== y.gid) what.push('owner')
  if (x.mtime.seconds !== y.mtime.seconds || x.mtime.nanoseconds !== y.mtime.nanoseconds) what.push('time')
  const same =
    x.xattrs.length === y.xattrs.length &&
    x.xattrs.every(({ name, value }, i) => name.equals(y.xattrs[i]!.name) && value.equals(y.xattrs[i]!.value))
  if (!same) what.push('attributes')
  // the fingerprint covers size and bytes
  if (x.type === 'file' && y.type === 'file' && !x.fingerprint!.equals(y.fingerprint!)) what.push('content')
  if (x.type === 'symlink' && y.type === 'symlink' && !x.target.equals(y.target)) what.push('target')
  if ('major' in x && 'major' in y && (x.major !== y.major || x.minor !== y.minor)) what.push('device')
  if (linkOf(first, beforeKeys) !== linkOf(second, afterKeys)) what.push('link')
  return what
}
