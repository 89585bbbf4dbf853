import {
  createReadStream,
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { chmod, link } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { finished } from 'node:stream/promises'
import { ZosError } from '#codec'
import type { CopyEntry } from '#vm'
import { Frame, readFrames, revive, writeFrame } from '#wire'
import { daemonCall, daemonOpen } from './daemon.ts'
import { parseFlags } from './flags.ts'

type Remote = { workload: string; path: string }

/** WORKLOAD:PATH; a colon after a slash belongs to a host path. */
function remote(text: string): Remote | undefined {
  const at = text.indexOf(':')
  if (at < 1 || text.slice(0, at).includes('/') || text.startsWith('.')) return undefined
  const path = text.slice(at + 1)
  return { workload: text.slice(0, at), path: path.startsWith('/') ? path : `/${path}` }
}

/** Where ENTRY goes below TOP; refuses paths that leave it, whatever the workload says. */
function place(top: string, entry: CopyEntry): string {
  const at = resolve(top, entry.path)
  if (at !== top && !at.startsWith(top + sep)) {
    throw new ZosError(`Copy: the workload sent "${entry.path}", which leaves "${top}"`, { code: 'bad-copy' })
  }
  // a symlink the copy itself made must not lead a later file out of the folder
  for (let dir = dirname(at); dir.length > top.length; dir = dirname(dir)) {
    if (lstatSync(dir, { throwIfNoEntry: false })?.isSymbolicLink())
      throw new ZosError(`Copy: "${entry.path}" lies below a symbolic link`, { code: 'bad-copy' })
  }
  return at
}

async function copyOut(from: Remote, to: string): Promise<void> {
  const isDir = existsSync(to) && lstatSync(to).isDirectory()
  const top = resolve(isDir ? join(to, basename(from.path) || '.') : to)
  if (!isDir && !existsSync(dirname(top)))
    throw new ZosError(`Copy to "${to}": folder "${dirname(top)}" does not exist`, { code: 'no-such-folder' })
  const socket = await daemonOpen(`/workloads/${encodeURIComponent(from.workload)}/copy-out`)
  const times: [string, number][] = []
  let file: ReturnType<typeof createWriteStream> | undefined
  let work: Promise<void> = Promise.resolve()
  const begin = async (entry: CopyEntry) => {
    const at = place(top, entry)
    if (entry.type === 'directory') mkdirSync(at, { recursive: true })
    else if (entry.type === 'symlink') symlinkSync(entry.linkname!, at)
    else if (entry.type === 'hardlink') await link(place(top, { ...entry, path: entry.linkname! }), at)
    else if (entry.type === 'file') file = createWriteStream(at, { flags: existsSync(at) ? 'r+' : 'wx' })
    else process.stderr.write(`zos: left out ${entry.path}: a ${entry.type}\n`)
    if (entry.type === 'directory' || entry.type === 'file') {
      if (file && entry.type === 'file') await new Promise((r) => file!.once('open', r))
      // as docker cp: owned by who copies; and then no program of a workload may run as them
      await chmod(at, entry.mode & 0o1777)
      times.push([at, Number(entry.mtime) / 1e9])
    }
  }
  const close = async () => {
    if (!file) return
    const ending = file
    file = undefined
    ending.end()
    await finished(ending)
  }
  await new Promise<void>((done, fail) => {
    const next = (step: () => Promise<void> | void) => {
      work = work.then(step)
      work.catch(fail)
    }
    readFrames(socket, (type, payload) => {
      if (type === Frame.entry) {
        const entry = JSON.parse(payload.toString()) as CopyEntry
        next(async () => {
          await close()
          await begin(entry)
        })
      } else if (type === Frame.data) {
        const bytes = Buffer.from(payload)
        socket.pause()
        next(async () => {
          if (file && !file.write(bytes)) await new Promise((r) => file!.once('drain', r))
          socket.resume()
        })
      } else if (type === Frame.error) next(() => Promise.reject(revive(JSON.parse(payload.toString()))))
      else if (type === Frame.exit) next(() => close().then(done))
    })
    socket.on('close', () =>
      next(() =>
        Promise.reject(new ZosError('Copy: the node daemon went away', { code: 'daemon-lost', kind: 'node' })),
      ),
    )
    socket.on('error', fail)
    writeFrame(socket, Frame.request, { path: from.path, follow: false })
  }).finally(() => socket.destroy())
  // folders last and deepest first: writing into one changes its time
  for (const [path, time] of times.reverse()) utimesSync(path, time, time)
}

/** PATH and what is below it, parents first, as the guest wants it. */
function* walk(path: string, name: string): Generator<{ entry: CopyEntry; path: string }> {
  const s = lstatSync(path, { bigint: true })
  const kind = s.isDirectory() ? 'directory' : s.isSymbolicLink() ? 'symlink' : s.isFile() ? 'file' : undefined
  if (!kind) return void process.stderr.write(`zos: left out ${path}: not a file, folder or link\n`)
  const entry: CopyEntry = {
    path: name,
    type: kind,
    mode: Number(s.mode) & 0o7777,
    uid: 0,
    gid: 0,
    mtime: String(s.mtimeNs),
    size: kind === 'file' ? Number(s.size) : 0,
  }
  if (kind === 'symlink') entry.linkname = readlinkSync(path)
  yield { entry, path }
  if (kind === 'directory')
    for (const child of readdirSync(path).sort())
      yield* walk(join(path, child), name === '' ? child : `${name}/${child}`)
}

async function copyIn(from: string, to: Remote): Promise<void> {
  if (!existsSync(from)) throw new ZosError(`Copy "${from}": there is no such file`, { code: 'no-such-file' })
  const workload = `/workloads/${encodeURIComponent(to.workload)}`
  const target = await daemonCall<{ type: string } | null>('POST', `${workload}/stat`, { path: to.path })
  const into = target?.type === 'directory'
  const path = into ? to.path : dirname(to.path)
  const name = into ? basename(resolve(from)) : basename(to.path)
  if (!into && !(await daemonCall('POST', `${workload}/stat`, { path }))) {
    throw new ZosError(`Copy to "${to.workload}:${to.path}": folder "${path}" does not exist there`, {
      code: 'no-such-folder',
    })
  }
  const socket = await daemonOpen(`${workload}/copy-in`)
  try {
    const finish = new Promise<void>((done, fail) => {
      readFrames(socket, (type, payload) => {
        if (type === Frame.exit) done()
        else if (type === Frame.error) fail(revive(JSON.parse(payload.toString())))
      })
      socket.on('close', () =>
        fail(new ZosError('Copy: the node daemon went away', { code: 'daemon-lost', kind: 'node' })),
      )
      socket.on('error', fail)
    })
    finish.catch(() => {})
    const send = async (type: number, payload: Uint8Array | object | '') => {
      if (!writeFrame(socket, type, payload)) await Promise.race([new Promise((r) => socket.once('drain', r)), finish])
    }
    await send(Frame.request, { path })
    for (const item of walk(from, name)) {
      await send(Frame.entry, item.entry)
      let left = item.entry.size
      if (item.entry.type !== 'file' || left === 0) continue
      // exactly as many bytes as announced, even when the file grows meanwhile
      for await (const bytes of createReadStream(item.path, { end: left - 1, highWaterMark: 256 << 10 })) {
        left -= (bytes as Buffer).length
        await send(Frame.data, bytes as Buffer)
      }
      if (left > 0)
        throw new ZosError(`Copy "${item.path}": it became shorter while it was read`, { code: 'file-changed' })
    }
    await send(Frame.dataEnd, '')
    await finish
  } finally {
    socket.destroy()
  }
}

export default async function cp(args: string[]): Promise<number> {
  const { rest } = parseFlags('cp', args, {})
  const [from = '', to = ''] = rest
  if (from === '-' || to === '-') {
    throw new ZosError('zos cp: tar streams ("-") are not taken; copy a folder, or use "zos exec -i W tar …"', {
      code: 'usage',
    })
  }
  const [source, target] = [remote(from), remote(to)]
  if (rest.length !== 2 || Boolean(source) === Boolean(target)) {
    throw new ZosError('zos cp: write zos cp WORKLOAD:PATH HOSTPATH or zos cp HOSTPATH WORKLOAD:PATH', {
      code: 'usage',
    })
  }
  if (source) await copyOut(source, to)
  else await copyIn(from, target!)
  return 0
}
