import { connectAgent } from './agent/index.ts'

/** Waits until the guest behind SOCKET answers; leaves the line free for the next one. */
export async function awaitAgent(socket: string, signal?: AbortSignal): Promise<void> {
  await using _agent = await connectAgent(socket, signal ? { signal, fresh: true, timeout: 120_000 } : { fresh: true })
}
