import { sleep } from '#sys'
import type { Agent } from '#vm'
import type { Workload } from './workload.ts'

/** Behind the start, which tells the time, and from then on. Milliseconds. */
const FIRST = 2000
const EVERY = 60_000
/** Off by less than this it is left alone. Milliseconds. */
const NEAR = 5

/**
 * Sets a guest's clock to ours, as well as the time that its answer takes lets it be known. It stands still while its machine
 * does, and goes a little faster or slower than ours. Never rejects: what does not answer is noticed elsewhere.
 */
export async function setClock(agent: Pick<Agent, 'clock'>): Promise<void> {
  try {
    const asked = Date.now()
    const { time } = await agent.clock(0)
    const told = Date.now()
    const off = (asked + told) / 2 - time
    if (Math.abs(off) > NEAR + (told - asked) / 2) await agent.clock(off)
  } catch {}
}

/** Keeps the clock of a workload that runs, until its line is another one. */
export function keepClock(workload: Workload): void {
  const agent = workload.agent!
  const over = new AbortController()
  void agent.closed.then(() => over.abort())
  const goOn = async () => {
    for (let pause = FIRST; ; pause = EVERY) {
      await sleep(pause, over.signal)
      if (workload.agent !== agent) return
      if (workload.status.state === 'running') await setClock(agent)
    }
  }
  goOn().catch(() => {})
}
