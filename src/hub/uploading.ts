import type { IncomingMessage } from 'node:http'
import { announceWriting, type ChunkBackend, UPLOAD_HEADER } from '#cas'

/** HTTP has no end of an upload: silence this long is one. Milliseconds. */
const QUIET = 600_000
/** Uploads told apart; what is above counts as one. */
const MOST = 256

/**
 * While an upload goes on, collections of the hub's folder spare all that it has brought and all that it was told is there:
 * no manifest may name that yet. Call it before either. Which requests belong together the client says.
 */
export type Uploading = Disposable & ((req: IncomingMessage) => void)

export function openUploading(objects: ChunkBackend, quiet: number = QUIET): Uploading {
  const uploads = new Map<string, { marker: Disposable; timer: NodeJS.Timeout }>()
  const end = (name: string) => {
    const upload = uploads.get(name)
    clearTimeout(upload?.timer)
    uploads.delete(name)
    upload?.marker[Symbol.dispose]()
  }
  const note = (req: IncomingMessage) => {
    const said = req.headers[UPLOAD_HEADER]
    const own = typeof said === 'string' && /^[0-9a-f]{32}$/.test(said) ? said : ''
    const name = uploads.has(own) || uploads.size < MOST ? own : ''
    const known = uploads.get(name)
    if (known) return void known.timer.refresh()
    uploads.set(name, { marker: announceWriting(objects), timer: setTimeout(end, quiet, name).unref() })
  }
  return Object.assign(note, {
    [Symbol.dispose]() {
      for (const name of [...uploads.keys()]) end(name)
    },
  })
}
