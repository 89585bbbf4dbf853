import { statFields } from './identity.ts'

const TICK = 10 // milliseconds: USER_HZ is 100 on every architecture we run on

/** Milliseconds of CPU that process PID has had. */
function cpuOf(pid: number): number {
  const fields = statFields(pid)
  return fields ? (Number(fields[11]) + Number(fields[12])) * TICK : 0
}

/** Milliseconds of CPU by which a process shows that it still works. */
const SOME = 50

/**
 * Aborts once process PID has used MS milliseconds of CPU, or next to none in MS by the clock. A guest that boots uses all the CPU
 * it gets: on a busy machine that takes long without meaning that it hangs. Disposing ends the watch.
 */
export function cpuDeadline(pid: number, ms: number): Disposable & { signal: AbortSignal } {
  const over = new AbortController()
  let mark = { cpu: cpuOf(pid), at: performance.now() }
  const watch = setInterval(() => {
    const cpu = cpuOf(pid)
    if (cpu >= mark.cpu + SOME) mark = { cpu, at: performance.now() }
    const what = cpu >= ms ? 'of CPU' : performance.now() - mark.at >= ms ? 'in which it did nothing' : undefined
    if (what) over.abort(new Error(`its agent did not answer within ${ms / 1000} s ${what}`))
  }, 200)
  return { signal: over.signal, [Symbol.dispose]: () => clearInterval(watch) }
}
