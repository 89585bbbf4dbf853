import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { ZosError } from '#codec'
import type { CopyEntry, CopyItem } from '#vm'
import { Frame, writeFrame } from '#wire'
import type { Engine } from '../compute/engine.ts'
import { agentOf } from '../compute/workload.ts'
import { framed } from './framed.ts'

/** `zos cp WORKLOAD:PATH …`: an entry frame per file, then its bytes. */
export const copyOutStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request }) => {
    const { path, follow } = request as { path: string; follow: boolean }
    const agent = agentOf(engine.find(ref))
    if (!(await agent.stat(path, { follow }))) {
      throw new ZosError(`Copy "${ref}:${path}": there is no such file in the workload`, { code: 'no-such-file' })
    }
    const send = async (type: number, payload: Uint8Array | object) => {
      if (!writeFrame(stream, type, payload) && !stream.destroyed)
        await Promise.race([once(stream, 'drain'), once(stream, 'close')])
    }
    for await (const { entry, content } of agent.copyOut(path, { follow })) {
      await send(Frame.entry, entry)
      for await (const bytes of content ?? []) await send(Frame.data, Buffer.from(bytes))
    }
    writeFrame(stream, Frame.exit, { code: 0 })
  })

/** `zos cp … WORKLOAD:PATH`: files arrive as entry and data frames, `dataEnd` after the last. */
export const copyInStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request, on }) => {
    const { path } = request as { path: string }
    const agent = agentOf(engine.find(ref))
    const queue: CopyItem[] = []
    let wake = () => {}
    let over = false
    let content: PassThrough | undefined
    const end = () => {
      content?.end()
      content = undefined
      over = true
      wake()
    }
    stream.on('close', end)
    on((type, payload) => {
      if (type === Frame.entry) {
        content?.end()
        const entry = JSON.parse(payload.toString()) as CopyEntry
        content = entry.type === 'file' ? new PassThrough() : undefined
        queue.push(content ? { entry, content } : { entry })
        wake()
      } else if (type === Frame.data && content && !content.write(Buffer.from(payload))) {
        stream.pause()
        content.once('drain', () => stream.resume())
      } else if (type === Frame.dataEnd) end()
    })
    const items = async function* () {
      for (;;) {
        while (queue.length > 0) yield queue.shift()!
        if (over) return
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    writeFrame(stream, Frame.started, { id: ref })
    await agent.copyIn(path, items())
    writeFrame(stream, Frame.exit, { code: 0 })
  })
