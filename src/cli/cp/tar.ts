import { basename } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ZosError } from '#codec'
import type { CopyEntry } from '#vm'
import { copyIn, copyOut, latin1Of, type Remote, remoteStat, shown } from './remote.ts'
import { padding, TAR_END, tarHeader } from './tar-header.ts'

/** The archive of FROM, its names below the last part of its path, as docker cp writes it. */
async function* archiveOf(from: Remote, options: { follow: boolean }): AsyncGenerator<Buffer> {
  const top = latin1Of(basename(from.path) || '.')
  const below = (name: string) => (name === '' ? top : `${top}/${name}`)
  for await (const { entry, content } of copyOut(from, options)) {
    const linkname = entry.type === 'hardlink' ? below(entry.linkname!) : entry.linkname
    const path = entry.type === 'directory' ? `${below(entry.path)}/` : below(entry.path)
    yield tarHeader({ ...entry, path, ...(linkname === undefined ? {} : { linkname }) })
    yield* content
    yield padding(entry.size)
  }
  yield TAR_END
}

export async function copyToTar(from: Remote, options: { follow: boolean }): Promise<void> {
  if (process.stdout.isTTY)
    throw new ZosError('zos cp: the archive would go to a terminal; redirect it, as > FILE', { code: 'usage' })
  await pipeline(Readable.from(archiveOf(from, options)), process.stdout, { end: false })
}

const TYPES: Record<string, CopyEntry['type']> = {
  file: 'file',
  'contiguous-file': 'file',
  link: 'hardlink',
  symlink: 'symlink',
  directory: 'directory',
  fifo: 'fifo',
  'character-device': 'character',
  'block-device': 'block',
}

/** Unpacks the archive on standard input, compressed or not, below the folder TO, with the owners it names. */
export async function copyFromTar(to: Remote): Promise<void> {
  if ((await remoteStat(to))?.type !== 'directory')
    throw new ZosError(`Copy to "${to.workload}:${to.path}": there is no such folder`, { code: 'no-such-folder' })
  // only here: it costs more than all else that cp loads
  const { paxTime, readEntries, uncompressed } = await import('#zosfs')
  const what = 'on standard input'
  const source = uncompressed(process.stdin as AsyncIterable<Buffer>, what)
  await copyIn(to, { keepOwner: true }, async ({ put }) => {
    const known = new Set<string>()
    /** An archive need not name the folders above a file. */
    const parents = async (path: string) => {
      const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')))
      if (folder === '' || known.has(folder)) return
      known.add(folder)
      await parents(folder)
      if (await remoteStat(to, `${to.path}/${shown(folder)}`)) return
      await put({ path: folder, type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: nowNanoseconds(), size: 0 })
    }
    await readEntries(source, what, async (header, pax, content) => {
      const path = header.name.replace(/^(\.?\/)+|^\.$|\/+$/g, '')
      const type = TYPES[header.type ?? '']
      if (!type || Object.keys(pax).some((key) => key.startsWith('GNU.sparse')))
        throw new ZosError(`Copy "${shown(path)}": its kind is not taken; write it with --format=posix, not sparse`, {
          code: 'bad-entry',
        })
      await parents(path)
      if (type === 'directory') known.add(path)
      const time = paxTime(pax.mtime ?? '')
      const entry: CopyEntry = {
        path,
        type,
        mode: header.mode & 0o7777,
        size: type === 'file' ? header.size! : 0,
        uid: Number(pax.uid ?? header.uid),
        gid: Number(pax.gid ?? header.gid),
        mtime: String(
          time ? time.seconds * 1_000_000_000n + BigInt(time.nanoseconds) : BigInt(header.mtime.getTime()) * 1_000_000n,
        ),
      }
      if (type === 'symlink') entry.linkname = header.linkname ?? ''
      if (type === 'hardlink') entry.linkname = (header.linkname ?? '').replace(/^(\.?\/)+/, '')
      if (type === 'character' || type === 'block')
        Object.assign(entry, { major: header.devmajor, minor: header.devminor })
      await put(entry, type === 'file' ? content : undefined)
    })
  })
}

const nowNanoseconds = (): string => String(BigInt(Date.now()) * 1_000_000n)
