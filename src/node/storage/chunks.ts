import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { Store } from '#cas'
import { http } from '#sys'
import { chunkIds, type Manifest } from '#zosfs'
import type { Images } from './images.ts'

const PATH = /^\/objects\/([0-9a-f]{64})$/
/** What another node may ask for: a chunk, stored; larger manifests are the hub's. */
const LIMIT = 1 << 20
/** The line before the requests names at most 512 images; it comes at once. Bytes, milliseconds. */
const LINE = 512 * 65
const LINE_DEADLINE = 5_000

/** The bytes up to the first line feed, what is behind them left in SOCKET; undefined when there is no such line. */
function lineOf(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let line = Buffer.alloc(0)
    const timer = setTimeout(() => end(undefined), LINE_DEADLINE)
    const end = (text: string | undefined) => {
      clearTimeout(timer)
      socket.off('readable', read).off('close', gone)
      resolve(text)
    }
    const gone = () => end(undefined)
    const read = () => {
      for (let part = socket.read() as Buffer | null; part; part = socket.read() as Buffer | null) {
        const feed = part.indexOf(10)
        line = Buffer.concat([line, feed < 0 ? part : part.subarray(0, feed)])
        if (line.length > LINE) return end(undefined)
        if (feed < 0) continue
        socket.unshift(part.subarray(feed + 1))
        return end(line.toString())
      }
    }
    socket.on('readable', read).on('close', gone)
  })
}

/** Ids of all chunks of manifests that are kept ready, as long as they are. */
function idsOfManifests() {
  const known = new WeakMap<Manifest, ReadonlySet<string>>()
  return (manifest: Manifest): ReadonlySet<string> => {
    let ids = known.get(manifest)
    if (!ids) {
      ids = new Set(chunkIds(manifest).map((id) => id.toString('hex')))
      known.set(manifest, ids)
    }
    return ids
  }
}

/**
 * Serves on the unix socket PATH what is here of objects, as they are stored, in the hub's own protocol: other nodes ask for
 * them before they ask a hub. The network plane says in a line before the requests of each connection, digests with a space
 * between them, of which images whoever asks may have the manifest and the chunks. Whoever gets one checks it.
 */
export async function serveChunks(path: string, { local }: Store, images: Pick<Images, 'get'>): Promise<Server> {
  const idsOf = idsOfManifests()
  const theirs = new WeakMap<object, readonly string[]>()
  const may = async (id: string, digests: readonly string[]): Promise<boolean> => {
    if (digests.includes(id)) return true
    // one after the other: nearly always the first that is ready has it
    for (const digest of digests) {
      const image = await images.get(digest).catch(() => undefined)
      if (image && idsOf(image.manifest).has(id)) return true
    }
    return false
  }
  const answering = http().createServer((req, res) => {
    const id = req.method === 'GET' ? PATH.exec(req.url ?? '')?.[1] : undefined
    if (!id) {
      res.writeHead(403).end()
      return
    }
    const find = async () => {
      const stored = await local.get(id)
      // most of what is asked for is not here: that costs no look into manifests
      return stored && stored.length <= LIMIT && (await may(id, theirs.get(req.socket) ?? [])) ? stored : undefined
    }
    find()
      .catch(() => undefined)
      .then((stored) => {
        if (stored) res.writeHead(200, { 'content-length': stored.length }).end(stored)
        else res.writeHead(404).end()
      })
  })
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    lineOf(socket).then((line) => {
      if (line === undefined) return socket.destroy()
      theirs.set(socket, line === '' ? [] : line.split(' '))
      answering.emit('connection', socket)
      return undefined
    })
  })
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return server
}
