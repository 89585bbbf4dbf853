import {
  createReadStream,
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { chmod, lchown, link, lutimes, symlink, utimes } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { plain, reasonOf, ZosError } from '#codec'
import type { CopyEntry } from '#vm'
import { copyIn, copyOut, latin1Of, type Remote, rawPath, remoteStat, shown } from './remote.ts'

/** What this machine's folder is not given: devices and pipes of a workload. */
const LEFT_OUT: ReadonlySet<CopyEntry['type']> = new Set(['character', 'block', 'fifo'])

/** Where a name of the copy goes below TOP (latin1, both); refuses what leaves it, whatever the workload says. */
function place(top: string, name: string): string {
  const at = resolve(top, name)
  if (at !== top && !at.startsWith(top === sep ? sep : top + sep)) {
    throw new ZosError(`Copy: the workload sent "${shown(name)}", which leaves "${shown(top)}"`, { code: 'bad-copy' })
  }
  // a symlink the copy itself made must not lead a later file out of the folder
  for (let dir = dirname(at); dir.length > top.length; dir = dirname(dir)) {
    if (lstatSync(rawPath(dir), { throwIfNoEntry: false })?.isSymbolicLink())
      throw new ZosError(`Copy: "${shown(name)}" lies below a symbolic link`, { code: 'bad-copy' })
  }
  return at
}

/**
 * Removes what is at AT and is to be replaced. A link there may be one that an earlier copy brought: written through, it would lead
 * the workload to any file of this machine. OWN: the person named the path itself, and their link is meant as its target.
 */
function makeWay(at: Buffer, type: CopyEntry['type'], own: boolean): void {
  const there = lstatSync(at, { throwIfNoEntry: false })
  if (!there) return
  const isFolder = there.isDirectory() || (own && statSync(at, { throwIfNoEntry: false })?.isDirectory() === true)
  if (isFolder !== (type === 'directory') && (isFolder || own))
    throw new ZosError(
      `Copy to "${at}": it is ${isFolder ? 'a' : 'no'} folder, the workload has a ${type}; remove it first`,
      {
        code: 'in-the-way',
      },
    )
  if (!isFolder && !(own && type === 'file')) unlinkSync(at)
}

export async function copyToDisk(from: Remote, to: string, options: { follow: boolean; archive: boolean }) {
  const isDir = existsSync(to) && statSync(to).isDirectory()
  const top = latin1Of(resolve(isDir ? join(to, basename(from.path) || '.') : to))
  if (!isDir && !existsSync(rawPath(dirname(top))))
    throw new ZosError(`Copy to "${to}": folder "${shown(dirname(top))}" does not exist`, { code: 'no-such-folder' })
  const times: [Buffer, number, boolean][] = []
  for await (const { entry, content } of copyOut(from, options)) {
    if (!isDir && to.endsWith('/') && entry.path === '' && entry.type !== 'directory')
      throw new ZosError(`Copy to "${to}": there is no such folder`, { code: 'no-such-folder' })
    const path = place(top, entry.path)
    const at = rawPath(path)
    const own = !isDir && path === top
    if (LEFT_OUT.has(entry.type)) {
      if (entry.path === '') throw notCopied(`${from.workload}:${from.path}`, `it is a ${entry.type}`)
      process.stderr.write(`zos: left out ${plain(shown(entry.path))}: a ${entry.type}\n`)
      continue
    }
    try {
      makeWay(at, entry.type, own)
      if (entry.type === 'directory') mkdirSync(at, { recursive: true })
      else if (entry.type === 'symlink') await symlink(rawPath(entry.linkname!), at)
      else if (entry.type === 'hardlink') await link(rawPath(place(top, entry.linkname!)), at)
      else await pipeline(content, createWriteStream(at, { flags: own ? 'w' : 'wx' }))
    } catch (cause) {
      if (cause instanceof ZosError) throw cause
      throw new ZosError(`Copy to "${shown(path)}": ${reasonOf(cause)}`, { code: 'copy-failed', cause })
    }
    if (options.archive && /^(directory|symlink|file)$/.test(entry.type)) await lchown(at, entry.uid, entry.gid)
    if (entry.type !== 'directory' && entry.type !== 'file') continue
    // as docker cp: owned by who copies; and then no program of a workload may run as them
    await chmod(at, entry.mode & 0o1777)
    times.push([at, Number(entry.mtime) / 1e9, own])
  }
  // folders last and deepest first: writing into one changes its time
  for (const [path, time, own] of times.reverse()) await (own ? utimes : lutimes)(path, time, time)
}

const notCopied = (what: string, why: string): ZosError =>
  new ZosError(`Copy "${plain(what)}": ${why}, which is not copied`, { code: 'not-copied' })

/** PATH and what is below it, parents first; both names latin1. FOLLOW: what PATH itself leads to, where it is a link. */
function* walk(
  path: string,
  name: string,
  { follow = false, top = path } = {},
): Generator<{ entry: CopyEntry; file: Buffer }> {
  const file = rawPath(path)
  const s = (follow ? statSync : lstatSync)(file, { bigint: true })
  const type = s.isDirectory() ? 'directory' : s.isSymbolicLink() ? 'symlink' : s.isFile() ? 'file' : undefined
  if (!type && path === top) throw notCopied(shown(path), 'it is no file, folder or link')
  if (!type) return void process.stderr.write(`zos: left out ${plain(shown(path))}: not a file, folder or link\n`)
  const entry: CopyEntry = {
    path: name,
    type,
    mode: Number(s.mode) & 0o7777,
    uid: Number(s.uid),
    gid: Number(s.gid),
    mtime: String(s.mtimeNs),
    size: type === 'file' ? Number(s.size) : 0,
  }
  if (type === 'symlink') entry.linkname = readlinkSync(file, 'latin1')
  yield { entry, file }
  if (type === 'directory')
    for (const child of readdirSync(file, 'latin1').sort())
      yield* walk(join(path, child), name === '' ? child : `${name}/${child}`, { top })
}

export async function copyFromDisk(from: string, to: Remote, options: { archive: boolean; follow: boolean }) {
  if (!(options.follow ? statSync : lstatSync)(from, { throwIfNoEntry: false }))
    throw new ZosError(`Copy "${from}": there is no such file`, { code: 'no-such-file' })
  const into = (await remoteStat(to))?.type === 'directory'
  const path = into ? to.path : dirname(to.path)
  const what = `Copy to "${to.workload}:${to.path}"`
  if (!into && to.path.endsWith('/') && !(options.follow ? statSync : lstatSync)(from).isDirectory())
    throw new ZosError(`${what}: there is no such folder`, { code: 'no-such-folder' })
  if (!into && (await remoteStat(to, path))?.type !== 'directory')
    throw new ZosError(`${what}: folder "${path}" does not exist there`, { code: 'no-such-folder' })
  // "folder/." is what is in it
  const inside = into && /(^|\/)\.\/?$/.test(from)
  const name = inside ? '' : latin1Of(into ? basename(resolve(from)) : basename(to.path))
  await copyIn({ workload: to.workload, path }, { keepOwner: options.archive }, async ({ put }) => {
    const owner = options.archive ? {} : { uid: 0, gid: 0 }
    for (const { entry, file } of walk(latin1Of(resolve(from)), name, options)) {
      // a file of /proc that was named: it says that it has no bytes, whatever it has
      if (entry.type === 'file' && entry.size === 0 && entry.path === name) {
        const bytes = readFileSync(file)
        await put({ ...entry, ...owner, size: bytes.length }, Readable.from([bytes]))
        continue
      }
      // exactly as many bytes as announced, even when the file grows meanwhile
      const content =
        entry.size > 0 ? createReadStream(file, { end: entry.size - 1, highWaterMark: 256 << 10 }) : undefined
      await put({ ...entry, ...owner }, content)
    }
  })
}
