// One node of ours with one workload's card: says "ready" and runs until it is killed.
// usage: nic-node.ts JSON: {listen?, peer?: PORT's tcp:// URI, secret, path, members: [{address (hex), ipv4}], port}
import { randomBytes } from 'node:crypto'
import { Daemon, parseEndpoint } from '#mycelium'

type Given = {
  listen?: string
  peer?: string
  secret: string
  path: string
  port: number
  members: { name: string; address: string; ipv4: number }[]
}
const { listen, peer, secret, path, port, members }: Given = JSON.parse(process.argv[2]!)
const endpoints = (uri: string | undefined) => (uri === undefined ? [] : [parseEndpoint(uri)])

await using daemon = await Daemon.start({
  secret: randomBytes(32),
  listen: endpoints(listen),
  peers: endpoints(peer),
})
const network = {
  domain: 'bench.zos',
  members: members.map((one) => ({ names: [one.name], address: Buffer.from(one.address, 'hex'), ipv4: one.ipv4 })),
  ports: [{ protocol: 'tcp' as const, port }],
}
await daemon.attach({ secret: Buffer.from(secret, 'hex'), port: { kind: 'nic', path, network } })
console.log('ready')
await daemon.ended
