import { dlopen } from 'node:ffi'
import { readFileSync, readlinkSync } from 'node:fs'
import { untilConfined } from './ffi-memory.ts'

const libc = untilConfined(
  dlopen('libc.so.6', {
    madvise: { arguments: ['u64', 'u64', 'i32'], return: 'i32' },
    malloc_trim: { arguments: ['u64'], return: 'i32' },
  }).functions,
  { opens: true },
)

/** bits/mman-linux.h */
const MADV_DONTNEED = 4

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

/** Gives the kernel back what this process has freed: of itself glibc keeps most of it. A few milliseconds. */
export const trimHeap = (): void => void libc.malloc_trim(0n)

/** Drops pages of Node's own program from memory, unchanged ones alone: the kernel reads them again from the file when touched. */
export function dropProgram(): void {
  try {
    const program = readlinkSync('/proc/self/exe')
    for (const { start, length } of programParts(readFileSync('/proc/self/smaps', 'latin1'), program))
      libc.madvise(BigInt(start), BigInt(length), MADV_DONTNEED)
      // V8 keeps the text of the last match, which here is all of smaps
    ;/^/.exec('')
  } catch {
    // a /proc that hides it: nothing is lost but memory
  }
}
