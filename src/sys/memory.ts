import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { dropProgram, trimHeap } from './ffi-trim.ts'

/**
 * Collects this thread's garbage and moves what stays together; of itself V8 waits until it grows. What is compiled and did not
 * run of late goes too, unless it KEEPS CODE. 20 to 60 ms of CPU.
 */
export function collectGarbage({ keepsCode = false } = {}): void {
  // the only way to ask for it without a flag at the start, which is the whole process's: another thread may just take it back
  let gc: ((how: { type: string; execution: string; flavor: string }) => void) | undefined
  for (let tries = 0; !gc && tries < 100; tries++) {
    setFlagsFromString('--expose-gc')
    gc = runInNewContext('globalThis.gc')
  }
  setFlagsFromString('--no-expose-gc')
  if (!gc) return
  if (keepsCode) setFlagsFromString('--no-flush-bytecode')
  gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  if (keepsCode) setFlagsFromString('--flush-bytecode')
}

/**
 * Gives the kernel back what this process needed to start: this thread's garbage, what is freed, most of which glibc keeps
 * of itself, and parts of Node's program, which are found in the page cache when they are needed again. Some 100 ms of CPU.
 */
export function trimMemory(): void {
  collectGarbage()
  trimHeap()
  dropProgram()
}
