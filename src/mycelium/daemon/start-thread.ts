import { Worker } from 'node:worker_threads'
import type { ThreadOptions } from './protocol.ts'

/** Of the packet thread: what it makes dies at once, and V8 never gives back what attaching a hundred identities took. */
const LIMITS = { maxYoungGenerationSizeMb: 3 }
/** It reads its own code and calls C until it is up; then it confines itself, and what it never needs it has not got. */
const PERMISSIONS = ['--permission', '--allow-fs-read=*', '--allow-ffi']
/** What it would take over from this process, and that these permissions are many. */
const QUIET = ['--disable-warning=ExperimentalWarning', '--disable-warning=SecurityWarning']

export const startThread = (workerData: ThreadOptions): Worker =>
  new Worker(new URL('./thread.ts', import.meta.url), {
    workerData,
    resourceLimits: LIMITS,
    execArgv: [...PERMISSIONS, ...QUIET],
  })
