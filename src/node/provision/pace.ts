/** The rhythm of a loop: it goes on after a while, or sooner when it is asked to. */
export type Pace = {
  /** Resolves after MS milliseconds, after the next hurry(), or when SIGNAL aborts. One that came since the last wait counts. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>
  hurry: () => void
}

export function pace(): Pace {
  let hurried = false
  let go = () => {}
  return {
    wait: (ms, signal) =>
      new Promise((resolve) => {
        const over = () => {
          clearTimeout(timer)
          signal.removeEventListener('abort', over)
          go = () => {}
          hurried = false
          resolve()
        }
        const timer = setTimeout(over, ms)
        signal.addEventListener('abort', over)
        go = over
        if (hurried || signal.aborted) over()
      }),
    hurry() {
      hurried = true
      go()
    },
  }
}
