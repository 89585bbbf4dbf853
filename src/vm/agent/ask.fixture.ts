import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
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
