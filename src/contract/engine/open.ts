import type { ChainOptions } from './recovery.ts'
import type { EmbeddedEngine } from './types.ts'

export type { ChainOptions } from './recovery.ts'

/**
 * The embedded chain kept in options.dir, run in this process; see embedded.ts. The EVM is loaded on the first call
 * only: whoever just reads or signs does not pay for it.
 */
export async function openEmbedded(options: ChainOptions): Promise<EmbeddedEngine> {
  const { openEmbeddedChain } = await import('./embedded.ts')
  return openEmbeddedChain(options)
}
