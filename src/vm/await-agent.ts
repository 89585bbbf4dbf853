import { connectAgent } from './agent/index.ts'

/** Whoever brings a signal ends it by that. Milliseconds. */
const WITH_SIGNAL = 3_600_000

/** Waits until the guest behind SOCKET answers; leaves the line free for the next one. */
export async function awaitAgent(socket: string, signal?: AbortSignal): Promise<void> {
  await using _agent = await connectAgent(
    socket,
    signal ? { signal, fresh: true, timeout: WITH_SIGNAL } : { fresh: true },
  )
}
