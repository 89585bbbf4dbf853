import type { Connection } from './connection.ts'
import { describeFrame } from './describe-frame.ts'

const LINES_PER_SECOND = 2_000

/** Frames as lines, for who asked to see them; at most LINES_PER_SECOND of them between two ticks. */
export function createCapture(captured: (peer: string, line: string) => void) {
  let on: { peer: string | undefined; left: number } | undefined
  return {
    /** From now on frames are told, those of PEER only when one is named; or none any more. */
    turn(wanted: boolean, peer: string | undefined): void {
      on = wanted ? { peer, left: LINES_PER_SECOND } : undefined
    },

    /** Once a second. */
    tick(): void {
      if (on) on.left = LINES_PER_SECOND
    },

    frame(connection: Connection, direction: string, bytes: Buffer, at: number, length: number): void {
      if (!on || (on.peer !== undefined && on.peer !== connection.endpoint)) return
      if (on.left-- <= 0) return
      const time = new Date().toISOString().slice(11, 23)
      const { endpoint } = connection
      captured(endpoint, `${time} ${direction.padEnd(3)} ${endpoint} ${describeFrame(bytes, at, length)}`)
    },
  }
}
