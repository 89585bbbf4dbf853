import { getCompileCacheDir } from 'node:module'
import { Worker } from 'node:worker_threads'
import type { PrivateNetwork } from './network-key.ts'
import type { ThreadOptions } from './protocol.ts'

/** Of the packet thread: its objects die young, and V8 would never give back the room that attaching a hundred identities took. */
const LIMITS = { maxYoungGenerationSizeMb: 3 }
/** All it needs to start: to read its own code and to call C. Once it is up it gives these up as well (`confine`). */
const PERMISSIONS = ['--permission', '--allow-fs-read=*', '--allow-ffi']
/** Node uses its compile cache only where it may write to it; without it the TypeScript parser is loaded and stays, 25 MB. */
const cached = (): string[] => {
  const dir = getCompileCacheDir()
  return dir === undefined ? [] : [`--allow-fs-write=${dir}`]
}
/** `execArgv` replaces the flags the thread would inherit, the first of these among them; the second is for wide permissions. */
const QUIET = ['--disable-warning=ExperimentalWarning', '--disable-warning=SecurityWarning']

export const startThread = (workerData: ThreadOptions): Worker =>
  new Worker(new URL('./thread.ts', import.meta.url), {
    workerData,
    resourceLimits: LIMITS,
    execArgv: [...PERMISSIONS, ...cached(), ...QUIET],
  })

/** The thread that speaks TLS: it may read its own code and nothing else, from its first instruction on. */
export const startTls = (network: PrivateNetwork): Worker =>
  new Worker(new URL('./tls-thread.ts', import.meta.url), {
    workerData: network,
    execArgv: ['--permission', '--allow-fs-read=*', ...cached(), ...QUIET],
  })
