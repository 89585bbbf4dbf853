// The overlay node of one command (way.ts), in a process of its own, so that no thread of it has node:ffi when peers and streams are
// read. It ends when that command has ended, however it did. To be forked with the flags of `confinable`.
// usage: way_node.ts DIR FACTS
import { randomBytes } from 'node:crypto'
import { codeOf, reasonOf, ZosError } from '#codec'
import { Daemon, parseEndpoint } from '#mycelium'
import { confine } from '#sys'
import type { GridFacts } from './local.ts'
import { connected, wayBy } from './way.ts'

/** The way it serves, or why there is none. */
export type Said = { rpc: string[]; hub: string[] } | { reason: string; code: string; kind: ZosError['kind'] }

const [dir, facts] = [process.argv[2]!, JSON.parse(process.argv[3]!) as GridFacts]
const alone = new Promise<void>((resolve) => {
  process.once('disconnect', resolve)
  if (!process.connected) resolve()
})
let served = false
function say(said: Said, after = () => {}): void {
  if (process.connected) process.send!(said, after)
}

try {
  const peers = facts.peers.map(parseEndpoint)
  await using daemon = await Daemon.start({ secret: randomBytes(32), listen: [], peers })
  // before the first byte of anybody is read on this thread
  confine({ opens: true, keeps: ['fs', 'net'] })
  await Promise.race([alone, connected(daemon)])
  await using way = await wayBy(daemon, facts, dir)
  say({ rpc: way.rpc, hub: way.hub })
  served = true
  await Promise.race([alone, daemon.ended])
} catch (error) {
  if (served) throw error
  const kind = error instanceof ZosError ? error.kind : 'bug'
  say({ reason: reasonOf(error), code: codeOf(error), kind }, () => process.connected && process.disconnect!())
}
