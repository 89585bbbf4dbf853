import type { Socket } from 'node:net'
import { codeOf, ZosError } from '#codec'
import { call, open, type Places, places } from '#wire'

/** Nobody listens. */
export const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED'])
/** It was there and ended before it answered. */
export const ENDED: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'daemon-closed'])
/** Milliseconds that a daemon which was killed may take to be gone. */
const DYING = 200

/** Where the daemon answers for the workload, image or volume NAME. */
export function pathOf(kind: 'workloads' | 'images' | 'volumes', name: string): string {
  // as parts of a path these would lead elsewhere
  if (/^\.{0,2}$/.test(name)) {
    throw new ZosError(
      `Find ${kind.slice(0, -1)} "${name}": that is no name; "zos ${LISTS[kind]}" lists those there are`,
      {
        code: 'usage',
      },
    )
  }
  return `/${kind}/${encodeURIComponent(name)}`
}

const LISTS = { workloads: 'ps -a', images: 'images', volumes: 'volume ls' } as const

/** Refuses a folder of sockets that another user made: in /tmp anybody may, and would then hear all that is said to the daemon. */
function checkOwn(run: string): void {
  // imported as a module it loads its promises, watchers and a reader of lines: 3 ms
  const facts = process.getBuiltinModule('node:fs').lstatSync(run, { throwIfNoEntry: false })
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
    const { startDaemon } = await import('./start-daemon.ts')
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
