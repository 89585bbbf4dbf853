import { getCompileCacheDir } from 'node:module'
import { Worker } from 'node:worker_threads'
import type { PrivateNetwork } from './network-key.ts'
import type { ThreadOptions } from './protocol.ts'

/** Of the packet thread: what it makes dies at once, and V8 never gives back what attaching a hundred identities took. */
const LIMITS = { maxYoungGenerationSizeMb: 3 }
/** It reads its own code and calls C until it is up; then it confines itself, and what it never needs it has not got. */
const PERMISSIONS = ['--permission', '--allow-fs-read=*', '--allow-ffi']
/** Node's cache of compiled code is used by who may write there alone; without it the parser of TypeScript stays, 25 MB. */
const cached = (): string[] => {
  const dir = getCompileCacheDir()
  return dir === undefined ? [] : [`--allow-fs-write=${dir}`]
}
/** What it would take over from this process, and that these permissions are many. */
const QUIET = ['--disable-warning=ExperimentalWarning', '--disable-warning=SecurityWarning']

export const startThread = (workerData: ThreadOptions): Worker =>
  new Worker(new URL('./thread.ts', import.meta.url), {
    workerData,
    resourceLimits: LIMITS,
    execArgv: [...PERMISSIONS, ...cached(), ...QUIET],
  })

/** Where TLS is spoken: it reads its own code, and never had more. */
export const startTls = (network: PrivateNetwork): Worker =>
  new Worker(new URL('./tls-thread.ts', import.meta.url), {
    workerData: network,
    execArgv: ['--permission', '--allow-fs-read=*', ...cached(), ...QUIET],
  })
