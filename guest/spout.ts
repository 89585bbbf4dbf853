import { HEADER } from '../src/vm/agent/protocol.ts'
import { arm, IN, unwatch, watch } from './loop.ts'
import { close, E, sys } from './native.ts'

/** A descriptor whose bytes go to the host. It is read only when they can be sent at once: nothing is kept here. */
export type Spout = {
  fd: number
  /** Frame type its bytes travel as. */
  type: number
  /** Worth trying to read. */
  ready: boolean
}

export function openSpout(fd: number, type: number, wake: () => void): Spout {
  const spout: Spout = { fd, type, ready: false }
  watch(fd, () => {
    spout.ready = true
    wake()
  })
  arm(fd, IN)
  return spout
}

/**
 * Reads up to LIMIT bytes to OUT[HEADER]; 0: nothing now, or the end (then fd is -1). FINAL: whoever wrote has ended, so
 * an empty pipe is the end too, even if a forgotten child still holds the other side.
 */
export function pour(spout: Spout, out: Uint8Array, limit: number, final: boolean): number {
  const got = sys('read', spout.fd, out.subarray(HEADER), limit)
  if (got > 0) return got
  spout.ready = false
  if (got === -E.EAGAIN && !final) arm(spout.fd, IN)
  // EIO is how a PTY says that its last user has gone
  else closeSpout(spout)
  return 0
}

export function closeSpout(spout: Spout): void {
  spout.ready = false
  if (spout.fd < 0) return
  unwatch(spout.fd)
  close(spout.fd)
  spout.fd = -1
}
