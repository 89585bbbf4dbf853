import { mkdir, rm, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'
import { type Daemon, serveApi } from '#mycelium'

/** DAEMON's API at SOCKET, in a folder made for it where there is none; what was made goes with it. */
export async function openApi(daemon: Daemon, socket: string): Promise<AsyncDisposable> {
  const folder = dirname(socket)
  const made = await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    // it gave up more before it took a byte of anybody (`becomeConfinable`)
    const reason =
      codeOf(cause) === 'ERR_ACCESS_DENIED' ? 'a node makes no folder in "/" and none in /proc' : reasonOf(cause)
    throw new ZosError(`Serve the API on "unix:${socket}": ${reason}; make its folder first or give another --api`, {
      code: 'listen-failed',
      kind: 'node',
      cause,
    })
  })
  const server = await serveApi(daemon, socket)
  return {
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await rm(socket, { force: true })
      if (made === undefined) return
      await rmdir(folder).catch((error: unknown) => {
        // others of this home have theirs there by now
        if (!['ENOTEMPTY', 'ENOENT'].includes(codeOf(error))) throw error
      })
    },
  }
}
