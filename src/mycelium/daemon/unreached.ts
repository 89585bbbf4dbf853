import { formatAddress, formatSubnet, type Subnet } from '../address.ts'
import { type IcmpError, noRoute, timeExceeded } from '../wire/icmp.ts'

/** Destinations remembered; the one that failed longest ago is forgotten. */
const MOST = 256
/** What went wrong here, by the name it is counted as, and what to do about it. */
const WORDS: Readonly<Record<string, string>> = {
  'no-route': 'no route: it does not run, or no peer of ours leads there; look at "zos mycelium peers"',
  'no-session':
    'it answered no handshake for 10 s: it has just ended, or speaks the public protocol alone, which is not taken here',
  'no-key': 'its key is of no use: who announces it made it up',
  'too-big': 'packets larger than the way there takes; their senders were told how large they may be',
  'hop-limit': 'hop limit used up here: the sender set it this low, or the packet came in a loop',
}

/** Milliseconds after the start in which others may still pass on what an earlier life of this node announced. */
const EARLIER_LIFE = 30_000
const CLASH =
  'has the key of this one: one file is on two machines, make another with "zos mycelium keygen"; it is heard from'

/** The last time that another node announced what is ours, in words; null when none did. TELL gets a line each time. */
export function createClash(begun: number, tell: (subject: string, line: string) => void) {
  let said: { subnet: Subnet; by: string; at: number } | undefined
  let count = 0
  return {
    heard(subnet: Subnet, by: string, now: number): void {
      if (now - begun < EARLIER_LIFE) return
      said = { subnet, by, at: now }
      count++
      tell(`clash ${subnet}`, `another node ${CLASH} ${by} (${formatSubnet(subnet)})`)
    },
    get count(): number {
      return count
    },
    words: (now: number): string | null =>
      said
        ? `another node ${CLASH} ${said.by} (${formatSubnet(said.subnet)}, ${Math.round((now - said.at) / 1000)} s ago)`
        : null,
  }
}

export type Unreached = { error: string; at: number }

/** Why packets of ours did not reach other nodes, the last time each. TELL gets a line each time. */
export function createUnreached(now: () => number, tell: (subject: string, line: string) => void) {
  const last = new Map<Subnet, Unreached>()

  function note(subnet: Subnet, error: string): void {
    last.delete(subnet)
    last.set(subnet, { error, at: now() })
    if (last.size > MOST) last.delete(last.keys().next().value!)
    tell(subnet, `${formatSubnet(subnet)} was not reached: ${error}`)
  }

  return {
    last: last as ReadonlyMap<Subnet, Unreached>,
    /** It failed here, counted as NAME; what is the sender's own fault says nothing of the destination. */
    here(subnet: Subnet, name: string): void {
      const words = WORDS[name]
      if (words !== undefined) note(subnet, words)
    },
    /** Another node on the way said so. */
    said(subnet: Subnet, by: Uint8Array, { type, code }: IcmpError): void {
      const what =
        type === timeExceeded.type
          ? 'its hop limit was used up at'
          : type === noRoute.type && code === noRoute.code
            ? 'no route, says'
            : `ICMPv6 error ${type}/${code} of`
      note(subnet, `${what} ${formatAddress(by)}; look at "zos mycelium trace"`)
    },
  }
}
