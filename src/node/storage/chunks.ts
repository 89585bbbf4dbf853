import { rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { Store } from '#cas'

const PATH = /^\/objects\/([0-9a-f]{64})$/
/** What another node may ask for: a chunk, stored; larger manifests are the hub's. */
const LIMIT = 1 << 20

/**
 * Serves on the unix socket PATH what is here of objects, as they are stored, in the hub's own protocol: other nodes ask for
 * them before they ask a hub. Whoever gets one checks it, so nothing is verified here.
 */
export async function serveChunks(path: string, { local }: Store): Promise<Server> {
  const server = createServer((req, res) => {
    const id = req.method === 'GET' ? PATH.exec(req.url ?? '')?.[1] : undefined
    if (!id) {
      res.writeHead(403).end()
      return
    }
    local
      .get(id)
      .catch(() => undefined)
      .then((stored) => {
        if (stored && stored.length <= LIMIT) res.writeHead(200, { 'content-length': stored.length }).end(stored)
        else res.writeHead(404).end()
      })
  })
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return server
}
