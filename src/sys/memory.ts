import { readFileSync, readlinkSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { dropPages, trimHeap } from './ffi.ts'

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \d+ +(.*)\n/
/** smaps: pages of the mapping that are this process's own copies. */
const NO_COPIES = /^Anonymous: +0 kB$/m

/**
 * Where PROGRAM is mapped, as proc_pid_smaps(5) has it, in parts of which this process has no copies of its own: what
 * was relocated is left out, however it is protected by now. Bytes.
 */
export function programParts(smaps: string, program: string): { start: number; length: number }[] {
  return smaps.split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/).flatMap((mapping) => {
    const [, from, to, path] = MAPPING.exec(mapping) ?? []
    if (path !== program || !NO_COPIES.test(mapping)) return []
    const start = Number.parseInt(from!, 16)
    return [{ start, length: Number.parseInt(to!, 16) - start }]
  })
}

/**
 * Collects this thread's garbage and moves what stays together; of itself V8 waits until it grows. What is compiled and did not
 * run of late goes too, unless it KEEPS CODE. 20 to 60 ms of CPU.
 */
export function collectGarbage({ keepsCode = false } = {}): void {
  // the only way to ask for it without a flag at the start
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as (how: { type: string; execution: string; flavor: string }) => void
  setFlagsFromString('--no-expose-gc')
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
  try {
    const program = readlinkSync('/proc/self/exe')
    for (const { start, length } of programParts(readFileSync('/proc/self/smaps', 'latin1'), program))
      dropPages(start, length)
      // what a pattern fitted last is kept with all that was searched
    ;/^/.exec('')
  } catch {
    // a /proc that hides it: nothing is lost but memory
  }
}
