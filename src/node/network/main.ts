// The network plane of a node: the only one with a network, and without disks. Carries hub and chain to the planes that have
// none, and the workloads' cards to the overlay. To be started with `flags` (place.ts).
// usage: node main.ts --run DIR --hub URL[,URL…] [--far SOCKET=PLACE[,…]] [--listen ENDPOINT[,…]] [--peer ENDPOINT[,…]]
//        [--relayer ADDRESS]
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { parseEndpoint, parseOverlayAddress } from '#mycelium'
import { confine } from '#sys'
import { planeLog } from '../supervisor/log.ts'
import { serveHubs } from './hubs.ts'
import { nearNodes } from './near.ts'
import { serveOverlay } from './overlay.ts'
import { overlaySocket } from './place.ts'
import { whatIsShown } from './shown.ts'

const log = planeLog('network')
const text = { type: 'string' } as const
const { values } = parseArgs({ options: { run: text, hub: text, far: text, listen: text, peer: text, relayer: text } })
const { run, hub } = values
if (!run || !hub) {
  log(
    'usage: main.ts --run DIR --hub URL[,URL…] [--far SOCKET=PLACE[,…]] [--listen ENDPOINT[,…]] [--peer ENDPOINT[,…]] [--relayer ADDRESS]',
  )
  process.exit(2)
}
const far = (values.far ? values.far.split(',') : []).map((said) => {
  const [socket, place] = said.split('=') as [string, string]
  return { socket, place }
})
/** What is reached by a socket of ours is known by its place on the overlay. */
const nameOf = (url: string): string => far.find(({ socket }) => url === `http+unix:${join(run, socket)}`)?.place ?? url
const endpoints = (list: string | undefined) => (list ? list.split(',').map(parseEndpoint) : [])
const sockets = { hubs: join(run, 'network.sock'), api: join(run, 'mycelium.sock'), overlay: overlaySocket(run) }
// before the first byte of anybody is read; the overlay's threads are still to come
confine({ opens: true, keeps: ['fs', 'net', 'child', 'worker'] })
const near = nearNodes()
const shown = whatIsShown()
const hubs = hub.split(',').map((url) => ({ url, name: nameOf(url) }))
await serveHubs(sockets.hubs, hubs, near, shown)
const hubNames = hubs.map(({ name }) => name)
const ends = { listen: endpoints(values.listen), peers: endpoints(values.peer), api: sockets.api }
const relayer = values.relayer === undefined ? undefined : parseOverlayAddress(values.relayer)
const at = { ...ends, relayer, far, near, hubs: hubNames, shown, log }
const overlay = await serveOverlay(run, at)
log(`up: pid ${process.pid}`)
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, async () => {
    for (const path of [...Object.values(sockets), ...far.map(({ socket }) => join(run, socket))])
      rmSync(path, { force: true })
    await overlay[Symbol.asyncDispose]()
    process.exit(0)
  })
}
