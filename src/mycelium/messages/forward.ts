import { connect } from 'node:net'
import { ZosError } from '#codec'
import { MAX_MESSAGE } from './inbox.ts'

/** Milliseconds in which a program must take a message (as with the public daemon), and answer it (that one waits for ever). */
const TAKE = 5_000
const ANSWER = 60_000
/** Messages handed over at once; others wait their turn. */
const AT_ONCE = 16

/**
 * Writes DATA to the program that listens on the unix socket PATH and gives what it says until it closes. The connection is
 * not closed half: the program knows by what it reads where a message ends, as with the public daemon.
 */
function exchange(path: string, data: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let size = 0
    let timer: NodeJS.Timeout
    const socket = connect({ path })
    const fail = (reason: string) => socket.destroy(new Error(reason))
    const within = (time: number, what: string) => {
      clearTimeout(timer)
      timer = setTimeout(fail, time, `${what} within ${time / 1000} s`)
    }
    within(TAKE, 'it did not take the message')
    socket.write(data, () => within(ANSWER, 'it did not answer'))
    socket.on('data', (part: Buffer) => {
      parts.push(part)
      size += part.length
      if (size > MAX_MESSAGE) fail(`it answered more than ${MAX_MESSAGE} bytes`)
    })
    socket.on('end', () => {
      if (size === 0) fail('it closed without an answer')
      else resolve(Buffer.concat(parts))
    })
    socket.on('error', (cause) =>
      reject(
        new ZosError(`Hand a message to "${path}": ${cause.message}`, { code: 'not-forwarded', kind: 'node', cause }),
      ),
    )
    socket.on('close', () => clearTimeout(timer))
  })
}

/** Hands messages to programs, a bounded number at once. */
export function createForwarding() {
  const waiting: (() => void)[] = []
  let busy = 0

  return async (path: string, data: Buffer): Promise<Buffer> => {
    // messages that wait are on disk, where they are counted and bounded
    if (busy >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve))
    else busy++
    try {
      return await exchange(path, data)
    } finally {
      const next = waiting.shift()
      if (next) next()
      else busy--
    }
  }
}
