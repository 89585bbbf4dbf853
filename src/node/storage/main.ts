import { parseArgs } from 'node:util'
import { serveUnix } from '#sys'
import { ZosError } from '#codec'
import { chunkCache, loadManifest, openDisk, openLibrary, serveNbd, startClosure, readRange, fileAt, pathOf, pieces } from '#zosfs'
const { values } = parseArgs({ options: { home: { type: 'string' }, run: { type: 'string' }, hub: { type: 'string' } } })
const library = openLibrary({ home: values.home!, hub: values.hub })
const cache = chunkCache(library.store, 256 << 20)
type E = { nbd: any; manifest?: any; files: number; checkedBytes: number }
const exports_ = new Map<string, E>()
const manifests = new Map<string, any>()
const load = async (d: string) => { if (!manifests.has(d)) manifests.set(d, await loadManifest(library.store, d)); return manifests.get(d) }
await serveUnix(`${values.run}/storage.sock`, { calls: {
  'GET /status': () => ({ pid: process.pid }),
  'GET /images/:digest': async (c) => ({ config: JSON.parse((await load(c.params.digest!)).config.toString()) }),
  'PUT /exports/:id': async (c) => { const b = c.body as any; if (!exports_.has(c.params.id!)) exports_.set(c.params.id!, { nbd: await serveNbd({ name: '', socket: b.socket, onError: (e: any) => console.error(e) }), files: 0, checkedBytes: 0 }) },
  'GET /exports/:id': (c) => { const e = exports_.get(c.params.id!)!; return { files: e.files, checkedBytes: e.checkedBytes, fetchedBytes: 0, ...e.nbd.stat() } },
  'POST /exports/:id/bind': async (c) => { const e = exports_.get(c.params.id!)!; e.manifest = await load((c.body as any).digest); e.nbd.bind(openDisk(e.manifest, cache)); return { root: e.manifest.disk.root.toString('hex'), dataBlocks: e.manifest.disk.dataBlocks, hashStart: e.manifest.disk.dataBlocks } },
  'POST /exports/:id/check': async (c) => { const e = exports_.get(c.params.id!)!; const m = e.manifest; const list = await startClosure(m, (n, at, l) => readRange(library.store, m, n, at, l), c.body as any)
    for (const n of list) { for await (const p of pieces(library.store, m, n)) if ('bytes' in p) e.checkedBytes += p.bytes.length; e.files++ }
    return { files: e.files, bytes: e.checkedBytes } },
  'POST /exports/:id/ready': () => {},
  'DELETE /exports/:id': async (c) => { const e = exports_.get(c.params.id!); exports_.delete(c.params.id!); await e?.nbd[Symbol.asyncDispose]() },
} })
void [ZosError, fileAt, pathOf]
process.on('SIGTERM', () => process.exit(0))
