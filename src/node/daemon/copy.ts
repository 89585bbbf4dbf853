import { ZosError } from '#codec'
import { type CopyEntry, type CopyItem, decodeUtf8, encodeUtf8 } from '#vm'
import { copyRecords, Frame, pullFrames, sendFrame, writeFrame } from '#wire'
import type { Engine } from '../compute/engine.ts'
import { reach } from '../compute/workload.ts'
import { framed } from './framed.ts'

/** ENTRY with its names turned by TURN: the guest's are PEP 383 text, a command's are latin1. */
function renamed(entry: CopyEntry, turn: (name: string) => string): CopyEntry {
  const { linkname } = entry
  return { ...entry, path: turn(entry.path), ...(linkname === undefined ? {} : { linkname: turn(linkname) }) }
}
const toLatin1 = (text: string) => Buffer.from(encodeUtf8(text)).toString('latin1')
const fromLatin1 = (name: string) => decodeUtf8(Buffer.from(name, 'latin1'))

/** `zos cp WORKLOAD:PATH …`: an entry frame per file, then its bytes. */
export const copyOutStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request }) => {
    const { path, follow } = request as { path: string; follow: boolean }
    const agent = await reach(engine.find(ref))
    if (!(await agent.stat(path, { follow }))) {
      throw new ZosError(`Copy "${ref}:${path}": there is no such file in the workload`, { code: 'no-such-file' })
    }
    for await (const { entry, content } of agent.copyOut(path, { follow })) {
      await sendFrame(stream, Frame.entry, renamed(entry, toLatin1))
      for await (const bytes of content ?? []) {
        if (stream.destroyed) return
        await sendFrame(stream, Frame.data, Buffer.from(bytes))
      }
      if (stream.destroyed) return
    }
    writeFrame(stream, Frame.exit, { code: 0 })
  })

/** `zos cp … WORKLOAD:PATH`: files arrive as entry and data frames, `dataEnd` after the last. */
export const copyInStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request, on }) => {
    const { path, keepOwner } = request as { path: string; keepOwner: boolean }
    const agent = await reach(engine.find(ref))
    const items = async function* (): AsyncGenerator<CopyItem> {
      for await (const { header, content } of copyRecords(pullFrames(stream, on))) {
        const entry = renamed(JSON.parse(header.toString()) as CopyEntry, fromLatin1)
        yield entry.type === 'file' ? { entry, content } : { entry }
      }
    }
    writeFrame(stream, Frame.started, { id: ref })
    await agent.copyIn(path, items(), { keepOwner })
    writeFrame(stream, Frame.exit, { code: 0 })
  })
