import type { Server } from 'node:http'
import { ZosError } from '#codec'
import { Chain } from './chain.ts'
import type { ChainOptions } from './recovery.ts'
import { methodsOf, rpcError } from './rpc.ts'
import { serveRpc } from './serve.ts'
import type { EmbeddedEngine, Hex } from './types.ts'

/**
 * Opens the chain kept in options.dir, in this process. One trusted sequencer: it orders and stores; what groups agreed
 * on is verified by each node itself. An answered transaction is fsynced and executed.
 */
export async function openEmbeddedChain(options: ChainOptions): Promise<EmbeddedEngine> {
  const chain = await Chain.open(options)
  const methods = methodsOf(chain)
  const servers: Server[] = []
  return {
    chainId: Number(chain.common.chainId()),
    genesis: `0x${Buffer.from(chain.genesis.hash()).toString('hex')}` as Hex,
    async request({ method, params }) {
      const run = Object.hasOwn(methods, method) ? methods[method] : undefined
      try {
        if (!run) throw Object.assign(new Error(`method "${method}" is not served`), { code: -32601 })
        return (await run((params as unknown[] | undefined) ?? [])) ?? null
      } catch (error) {
        // the shape viem reads: code and data on the error itself
        throw run ? Object.assign(new Error((error as Error).message, { cause: error }), rpcError(error)) : error
      }
    },
    async finalized() {
      const row = chain.store.block(chain.store.meta('head')!)
      if (!row) throw new ZosError('Read the head: there is none', { code: 'no-block', kind: 'bug' })
      return { number: row.number, hash: `0x${Buffer.from(row.hash).toString('hex')}`, timestamp: row.timestamp }
    },
    async serve(at) {
      const server = await serveRpc(methods, at)
      servers.push(server)
      return server
    },
    async [Symbol.asyncDispose]() {
      for (const server of servers) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
      await chain[Symbol.asyncDispose]()
    },
  }
}
