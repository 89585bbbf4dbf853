import { table } from '../terminal.ts'

type Step = { what: string; at: number; ms: number; note: string }

/** What the main job did, with the time each thing took and the time it was done at. */
export function timeline() {
  const begun = performance.now()
  const steps: Step[] = []
  return {
    /** Carries ACT out as the step WHAT; NOTE says what came of it. */
    async step<T>(what: string, act: () => Promise<T>, note: (value: T) => string = () => ''): Promise<T> {
      const start = performance.now()
      const value = await act()
      const now = performance.now()
      steps.push({ what, at: now - begun, ms: now - start, note: note(value) })
      return value
    },
    text: (): string => {
      const seconds = (ms: number) => (ms / 1000).toFixed(2)
      return table(
        ['STEP', 'TOOK', 'DONE AT', ''],
        steps.map((s) => [s.what, seconds(s.ms), seconds(s.at), s.note]),
      )
    },
  }
}

export type Timeline = ReturnType<typeof timeline>
