import { existsSync } from 'node:fs'
import { codeOf, ZosError } from '#codec'
import { call, places } from '#wire'
import { daemonCall } from './daemon.ts'
import { parseFlags } from './flags.ts'

/** The daemon answers first and ends then; who said `down` may count on it being gone. */
async function gone(pid: number): Promise<void> {
  for (let waited = 0; waited < 10_000; waited += 10) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await new Promise((r) => setTimeout(r, 10))
  }
}

/** Ends the daemon and everything it started; nothing to do when nothing runs. */
export default async function down(args: string[]): Promise<number> {
  const { rest } = parseFlags('down', args, {})
  if (rest.length > 0)
    throw new ZosError(`zos down: "${rest[0]}" is not understood; "zos stop" ends a single workload`, { code: 'usage' })
  const at = places()
  try {
    await gone((await call<{ pid: number }>(at.api, 'POST', '/down')).pid)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ECONNREFUSED') throw error
    // a killed daemon leaves its machines running: a new one takes them up, then ends them
    if (existsSync(at.run)) await gone((await daemonCall<{ pid: number }>('POST', '/down')).pid)
  }
  return 0
}
