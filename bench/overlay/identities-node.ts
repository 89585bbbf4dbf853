// One node of ours with COUNT identities, each on a TUN of its own: says "ready" and runs until it is killed.
// usage: identities-node.ts COUNT
import { randomBytes } from 'node:crypto'
import { Daemon } from '#mycelium'

await using daemon = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [] })
for (let i = 0; i < Number(process.argv[2]); i++)
  await daemon.attach({ secret: randomBytes(32), port: { kind: 'tun', name: `id${i}` } })
console.log('ready')
await daemon.ended
