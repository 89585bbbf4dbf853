import type { ExitStatus } from '../src/vm/agent/types.ts'

/** Of signal(7), in the order of their numbers on x86-64 and arm64. */
const NAMES =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  )

/** `TERM`, `SIGTERM`, `15`, `RTMIN+3` → its number, or 0. */
export function signalNumber(name: string): number {
  const upper = name.toUpperCase()
  const bare = upper.startsWith('SIG') ? upper.slice(3) : upper
  const number = Number(bare)
  if (bare !== '' && Number.isInteger(number)) return number > 0 && number <= 64 ? number : 0
  if (bare.startsWith('RTMIN')) {
    const offset = bare === 'RTMIN' ? 0 : Number(bare.slice(6))
    return bare.length > 5 && bare[5] !== '+' ? 0 : offset >= 0 && offset <= 30 ? 34 + offset : 0
  }
  if (bare.startsWith('RTMAX')) {
    const offset = bare === 'RTMAX' ? 0 : Number(bare.slice(6))
    return bare.length > 5 && bare[5] !== '-' ? 0 : offset >= 0 && offset <= 30 ? 64 - offset : 0
  }
  return NAMES.indexOf(bare) + 1
}

/** STATUS as wait(2) gives it. */
export function exitStatus(status: number, oom: boolean): ExitStatus {
  const number = status & 0x7f
  if (number === 0) {
    const code = status >> 8
    // the kernel kills the group whole; when the program itself was spared it may still have ended because of it
    return { code, signal: null, oom, reason: oom ? `exit code ${code}; out of memory` : `exit code ${code}` }
  }
  const signal = NAMES[number - 1] ?? `${number}`
  return { code: 128 + number, signal, oom, reason: oom ? 'out of memory' : `killed by SIG${signal}` }
}
