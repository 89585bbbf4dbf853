import { existsSync } from 'node:fs'
import { codeOf } from '#codec'
import { call, places } from '#wire'
import { daemonCall } from './daemon.ts'

/** Ends the daemon and everything it started; nothing to do when nothing runs. */
export default async function down(): Promise<number> {
  const at = places()
  try {
    await call(at.api, 'POST', '/down')
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ECONNREFUSED') throw error
    // a killed daemon leaves its machines running: a new one takes them up, then ends them
    if (existsSync(at.run)) await daemonCall('POST', '/down')
  }
  return 0
}
