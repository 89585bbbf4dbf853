import { ZosError } from '#codec'
import type { CopyEntry } from '#vm'
import { copyRecords, Frame, pullFrames, readFrames, revive, sendFrame, writeFrame } from '#wire'
import { daemonCall, daemonOpen, pathOf } from '../daemon.ts'

/** A file of a workload. Names in entries are latin1, a character for each byte: no name is lost. */
export type Remote = { workload: string; path: string }

export const rawPath = (latin1: string): Buffer => Buffer.from(latin1, 'latin1')
export const latin1Of = (path: string): string => Buffer.from(path).toString('latin1')
/** For messages. */
export const shown = (latin1: string): string => rawPath(latin1).toString()

/** WORKLOAD:PATH; a colon after a slash belongs to a host path. */
export function parseRemote(text: string): Remote | undefined {
  const at = text.indexOf(':')
  if (at < 1 || text.slice(0, at).includes('/') || text.startsWith('.')) return undefined
  const path = text.slice(at + 1)
  return { workload: text.slice(0, at), path: path.startsWith('/') ? path : `/${path}` }
}

const workloadPath = ({ workload }: Remote): string => pathOf('workloads', workload)

const gone = () => new ZosError('Copy: the node daemon went away', { code: 'daemon-lost', kind: 'node' })

/** What is at PATH of the workload, links followed. */
export const remoteStat = (at: Remote, path = at.path): Promise<{ type: string } | null> =>
  daemonCall('POST', `${workloadPath(at)}/stat`, { path })

export type Item = { entry: CopyEntry; content: AsyncIterable<Buffer> }

/** What is at FROM and below it, parents first; the content of one is read before the next is asked for. */
export async function* copyOut(from: Remote, options: { follow: boolean }): AsyncGenerator<Item> {
  const socket = await daemonOpen(`${workloadPath(from)}/copy-out`)
  try {
    socket.on('error', () => {}) // closes it, and that is noticed
    writeFrame(socket, Frame.request, { path: from.path, follow: options.follow })
    let ended = false
    const pull = pullFrames(socket, (handle) => readFrames(socket, handle))
    const next = async () => {
      const frame = await pull()
      if (frame?.type === Frame.error) throw revive(JSON.parse(frame.payload.toString()))
      ended = frame?.type === Frame.exit
      return frame
    }
    for await (const { header, content } of copyRecords(next))
      yield { entry: JSON.parse(header.toString()) as CopyEntry, content }
    if (!ended) throw gone()
  } finally {
    socket.destroy()
  }
}

export type Sender = { put: (entry: CopyEntry, content?: AsyncIterable<Uint8Array>) => Promise<void> }

/** Lets FILL send entries, parents first, to below the folder TO; returns when the workload has them all. */
export async function copyIn(to: Remote, options: { keepOwner: boolean }, fill: (sender: Sender) => Promise<void>) {
  const socket = await daemonOpen(`${workloadPath(to)}/copy-in`)
  try {
    let failure: unknown
    const finished = new Promise<void>((done, fail) => {
      readFrames(socket, (type, payload) => {
        if (type === Frame.exit) done()
        else if (type === Frame.error) {
          fail(revive(JSON.parse(payload.toString())))
          // what is still to be sent is no longer read
          socket.destroy()
        }
      })
      socket.on('close', () => fail(gone()))
      socket.on('error', fail)
    })
    finished.catch((error) => {
      failure = error
    })
    const send = async (type: number, payload: Uint8Array | object | '') => {
      await sendFrame(socket, type, payload)
      if (failure) throw failure
    }
    await send(Frame.request, { path: to.path, keepOwner: options.keepOwner })
    await fill({
      async put(entry, content) {
        await send(Frame.entry, entry)
        let size = 0
        for await (const bytes of content ?? []) {
          size += bytes.length
          await send(Frame.data, bytes)
        }
        if (size !== entry.size)
          throw new ZosError(`Copy "${shown(entry.path)}": it became shorter while it was read`, {
            code: 'file-changed',
          })
      },
    })
    await send(Frame.dataEnd, '')
    await finished
  } finally {
    socket.destroy()
  }
}
