import type { Engine, Head } from '../engine/types.ts'

/** Changes the answer to a call; what it throws is what the caller gets. */
export type Lie = (method: string, params: unknown[], answer: unknown) => unknown

/** ENGINE behind the lie; it asks for that at its own moment, so that a lie can come and go. Its head is the call "finalized". */
export const lyingEngine = (engine: Engine, lie: () => Lie): Engine => ({
  chainId: engine.chainId,
  genesis: engine.genesis,
  finalized: async () => lie()('finalized', [], await engine.finalized()) as Head,
  async request(call) {
    const answer = await engine.request(call)
    return lie()(call.method, (call.params as unknown[] | undefined) ?? [], answer)
  },
  [Symbol.asyncDispose]: async () => {},
})
