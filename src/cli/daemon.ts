import { spawn } from 'node:child_process'
import { closeSync, lstatSync, openSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { call, open, type Places, places } from '#wire'

const ROOT = resolve(import.meta.dirname, '../..')
const ABSENT = new Set(['ENOENT', 'ECONNREFUSED'])
/** It was there and ended before it answered. */
const ENDED = new Set(['ECONNRESET', 'EPIPE', 'daemon-closed'])
/** How long one that was killed may take to be gone. */
const DYING = 200
/** How long a daemon may take to answer: it makes its sockets before anything slow. */
const START_DEADLINE = 20_000

/** Starts the node daemon detached, after setting up what is missing, and waits until it answers. */
async function startDaemon(at: Places): Promise<void> {
  const { makeFolder, programFlags } = await import('#sys')
  makeFolder(at.home, 0o700)
  const { ensureNodeSetup } = await import('./setup/index.ts')
  await ensureNodeSetup()
  makeFolder(at.run, 0o711)
  const log = openSync(join(at.home, 'daemon.log'), 'a', 0o600)
  const child = spawn(process.execPath, [...programFlags(), join(ROOT, 'src/node/daemon/main.ts')], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { ...process.env, ZOS_HOME: at.home },
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

/** Refuses a folder of sockets that somebody else made: in /tmp anybody may, and would be told all that the daemon is. */
function checkOwn(run: string): void {
  const facts = lstatSync(run, { throwIfNoEntry: false })
  if (!facts || facts.uid === process.getuid?.()) return
  throw new ZosError(
    `Call the node daemon: "${run}" is another user's (${facts.uid}); remove it, or set XDG_RUNTIME_DIR to a folder of your own`,
    { code: 'run-not-own' },
  )
}

async function withDaemon<T>(attempt: (at: Places) => Promise<T>): Promise<T> {
  const at = places()
  if (!process.env.ZOS_API) checkOwn(at.run)
  try {
    return await attempt(at)
  } catch (error) {
    if (!ABSENT.has(codeOf(error))) throw error
    await startDaemon(at)
    return attempt(at)
  }
}

/** One JSON call to the daemon; starts it when none runs. A question is asked again, once, of the next daemon. */
export async function daemonCall<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
  const ask = () => withDaemon((at) => call<T>(at.api, method, path, body))
  if (method !== 'GET') return ask() // what was told may have been done
  try {
    return await ask()
  } catch (error) {
    if (!ENDED.has(codeOf(error))) throw error
    await new Promise((r) => setTimeout(r, DYING))
    return ask()
  }
}

/** Opens a framed stream to the daemon; starts it when none runs. */
export const daemonOpen = (path: string): Promise<Socket> => withDaemon((at) => open(at.api, path))
