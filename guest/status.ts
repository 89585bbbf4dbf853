import { SIGNALS } from '../src/vm/agent/signals.ts'
import type { ExitStatus } from '../src/vm/agent/types.ts'

/** STATUS as wait(2) gives it. */
export function exitStatus(status: number, oom: boolean): ExitStatus {
  const number = status & 0x7f
  if (number === 0) {
    const code = status >> 8
    // the kernel kills the group whole; when the program itself was spared it may still have ended because of it
    return { code, signal: null, oom, reason: oom ? `exit code ${code}; out of memory` : `exit code ${code}` }
  }
  const signal = SIGNALS[number - 1] ?? `${number}`
  return { code: 128 + number, signal, oom, reason: oom ? 'out of memory' : `killed by SIG${signal}` }
}
