import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { until } from '#sys'
import type { Agent } from './agent.ts'
import type { ProcessSpec } from './types.ts'
import { processOf } from './vm.fixture.ts'

/** 3 s on an idle core; the gate may share its cores with much else. */
export const COLD_BOOT = 120_000

export const sha = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

export async function all(stream: Readable): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

/** Runs a command in the workload to its end. */
export async function ask(agent: Agent, argv: string[], more: Partial<ProcessSpec> = {}, input?: Buffer) {
  const session = await agent.exec({ ...processOf(...argv), stdin: input !== undefined, ...more })
  if (input) session.stdin.end(input)
  const [out, err] = await Promise.all([all(session.stdout), all(session.stderr)])
  return { out, text: out.toString(), err: err.toString(), exit: await session.exit }
}

/** Milliseconds that the guest's clock is off, once moved by BY, at the least and at the most: the answer takes its time. */
export async function clockOff(agent: Agent, by = 0): Promise<{ least: number; most: number }> {
  const asked = Date.now()
  const { time } = await agent.clock(by)
  return { least: time - Date.now(), most: time - asked }
}

/** What it is off, to 100 ms: by an answer that came quickly. */
export async function clockNow(agent: Agent): Promise<number> {
  const quick = await until('a quick answer', 60_000, async () => {
    const off = await clockOff(agent)
    return off.most - off.least < 100 ? off : undefined
  })
  return quick.least
}

/**
 * Milliseconds that ACT took at its fastest of COUNT times, which is what the machine's load does least to; that and the
 * median are said to T.
 */
export async function least(t: TestContext, what: string, count: number, act: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const begun = performance.now()
    await act()
    times.push(performance.now() - begun)
  }
  times.sort((a, b) => a - b)
  t.diagnostic(`${what}: least ${times[0]!.toFixed(2)} ms, median ${times[count >> 1]!.toFixed(2)} ms`)
  return times[0]!
}
