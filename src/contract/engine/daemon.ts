// The embedded chain as a process of its own: prints one JSON line when it is ready, and ends cleanly on SIGTERM.
// usage: tools/node.sh --max-semi-space-size=4 src/contract/engine/daemon.ts --dir DIR (--socket PATH | --port N) [--block-time MS]
// The small young generation keeps it at half the memory for a tenth of the speed.
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { openEmbeddedChain } from './embedded.ts'

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    socket: { type: 'string' },
    port: { type: 'string' },
    'block-time': { type: 'string', default: '0' },
  },
})
if (values.dir === undefined || (values.socket === undefined) === (values.port === undefined)) {
  console.error('usage: daemon.ts --dir DIR (--socket PATH | --port N) [--block-time MS]')
  process.exit(2)
}
try {
  const chain = await openEmbeddedChain({ dir: values.dir, blockTime: Number(values['block-time']) })
  const server = await chain.serve(
    values.socket === undefined ? { port: Number(values.port) } : { socket: values.socket },
  )
  const address = server.address() as AddressInfo | string
  const url = typeof address === 'string' ? `unix://${address}` : `http://127.0.0.1:${address.port}`
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => void chain[Symbol.asyncDispose]().then(() => process.exit(0)))
  console.log(JSON.stringify({ ready: true, url, chainId: chain.chainId, genesis: chain.genesis, pid: process.pid }))
} catch (error) {
  console.error((error as Error).message)
  process.exit(1)
}
