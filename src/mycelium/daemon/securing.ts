import { reasonOf } from '#codec'
import { closeFd, socketPair } from '#sys'
import { tuneForPeers } from './connection.ts'
import type { Securing } from './protocol.ts'

type Done = (fd: number, reason: string) => void

/** Has TLS done on another thread: HAND gives a connection over to it, `secured` is to be called with its answer. */
export function createSecuring(hand: (one: Securing) => void) {
  const waiting = new Map<number, { own: number; done: Done }>()
  let next = 1
  return {
    secure(fd: number, client: boolean, done: Done): void {
      tuneForPeers(fd)
      let pair: [number, number]
      try {
        pair = socketPair('stream')
      } catch (error) {
        closeFd(fd)
        done(-1, reasonOf(error))
        return
      }
      const [own, plainFd] = pair
      const connection = next++
      waiting.set(connection, { own, done })
      hand({ connection, fd, plainFd, client })
    },

    secured(connection: number, failure: string | undefined): void {
      const one = waiting.get(connection)
      if (!one) return
      waiting.delete(connection)
      if (failure === undefined) one.done(one.own, '')
      else {
        closeFd(one.own)
        one.done(-1, failure)
      }
    },
  }
}
