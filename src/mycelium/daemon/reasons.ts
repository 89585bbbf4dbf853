import { errnoMessage } from '#sys'

/** asm-generic/errno.h: ENETUNREACH, ECONNRESET, ETIMEDOUT, ECONNREFUSED, EHOSTUNREACH */
const REMEDIES: Readonly<Record<number, string>> = {
  101: 'this machine has no way there: look at its own network',
  104: 'that node has ended or wants no peer like this one: look at its log',
  110: 'is the address right, is that node on, and does a firewall let the port through?',
  111: 'nothing listens there: start that node, or correct address and port',
  113: 'no machine has that address on its network: is it right, and on?',
}
const NO_ANSWER = 110

/** Why a connection to a peer was not made or is over, and what to do about it; CODE is an errno. */
export function reasonFor(code: number): string {
  const remedy = REMEDIES[Math.abs(code)]
  return `${errnoMessage(code)}${remedy === undefined ? '' : `; ${remedy}`}`
}

export const noAnswer = (seconds: number): string => `no answer within ${seconds} s; ${REMEDIES[NO_ANSWER]}`
export const CLOSED =
  'the other side closed the connection; it has ended, has enough peers, or is of a private network (--network-name)'
export const SILENT = 'it said nothing; is something else on that port?'
export const silentFor = (seconds: number): string =>
  `it has said nothing for ${seconds} s; is that node stopped or cut off, or has this machine another address by now?`
export const notOurs = (detail: string): string =>
  `it does not speak the protocol (${detail}); is something else on that port, or a private network (--network-name)?`
