import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { makeFolder, programFlags } from '#sys'
import { call, type Places } from '#wire'
import { ABSENT, ENDED } from './daemon.ts'
import { namedHub } from './hub.ts'
import { ensureNodeSetup } from './setup/index.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** How long a daemon may take to answer: it makes its sockets before anything slow. */
const START_DEADLINE = 20_000

/** Starts the node daemon detached, after setting up what is missing, and waits until it answers. */
export async function startDaemon(at: Places): Promise<void> {
  makeFolder(at.home, 0o700)
  await ensureNodeSetup()
  makeFolder(at.run, 0o711)
  const log = openSync(join(at.home, 'daemon.log'), 'a', 0o600)
  const child = spawn(process.execPath, [...programFlags(), join(ROOT, 'src/node/daemon/main.ts')], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { ...process.env, ZOS_HOME: at.home, ZOS_HUB: namedHub() },
  })
  closeSync(log)
  let ended = ''
  child.on('exit', (code, signal) => (ended = String(signal ?? code)))
  child.unref()
  const deadline = performance.now() + START_DEADLINE
  for (;;) {
    try {
      return await call(at.api, 'GET', '/ping')
    } catch (error) {
      if (!ABSENT.has(codeOf(error)) && !ENDED.has(codeOf(error))) throw error
    }
    // a second daemon ends at once when the first holds the lock: then the first will answer
    if (performance.now() > deadline || (ended !== '' && ended !== '0')) {
      throw new ZosError(
        `Start the node daemon: it does not answer${ended && ` (it ended: ${ended})`}; see "${at.home}/daemon.log"`,
        {
          code: 'daemon-start',
          kind: 'node',
        },
      )
    }
    await new Promise((r) => setTimeout(r, 15))
  }
}
