import type { Server } from 'node:http'

export type Hex = `0x${string}`

/** A block that will not be undone. */
export type Head = { number: number; hash: Hex; timestamp: number }

/**
 * What orders transactions for us: the embedded chain, or any EVM network by RPC. An EIP-1193 provider that says
 * itself what is final: callers ask `finalized`, never a block tag. A replicated engine fits behind the same shape.
 */
export interface Engine extends AsyncDisposable {
  readonly chainId: number
  /** Hash of block 0: with chainId and the contract's address it says which chain this is. */
  readonly genesis: Hex
  request(call: { method: string; params?: unknown }): Promise<unknown>
  finalized(): Promise<Head>
}

/** An engine that runs the chain in this process and may be served to others. */
export interface EmbeddedEngine extends Engine {
  /** JSON-RPC over HTTP on a unix socket (mode 0600) or a port of 127.0.0.1; port 0 takes a free one. */
  serve(at: { socket: string } | { port: number }): Promise<Server>
}
