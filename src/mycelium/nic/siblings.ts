import { isOverlay } from '../address.ts'
import { type Announced, type Announcement, announce, readAnnouncement } from './announcement.ts'
import { gatewayOf, type NicNetwork } from './network.ts'
import { ipv6Packet, UDP } from './packet.ts'

/** UDP, between the nodes' ends of two cards' links. */
export const SIBLINGS_PORT = 9654
const UDP_HEADER = 8
/** A round of announcements begins this long after the one before, the second one sooner: the first may be lost. */
const ROUND = 60_000
const SECOND_ROUND = 5_000
/** Announcements sent in one go, and how long until the next go. */
const SLICE = 32
const PAUSE = 250
/** Whoever introduced others is forgotten after this silence, but only while others are heard: else we hear nobody. */
const SILENCE = 10 * ROUND
const HEARD = 2 * ROUND
/** Introduced in all. */
const MOST = 4_096

type Introduced = {
  heard: number
  serial: number
  pieces: Map<number, Announced[]>
  deployment: string
  all: Announced[]
}

const hex = (address: Uint8Array): string => Buffer.from(address).toString('hex')
const isOf = (rules: readonly string[] = [], deployment: string, { names }: Announced): boolean =>
  rules.some((rule) => rule === `${deployment}/*` || rule === `${deployment}/${names[0]}`)

/**
 * Lets replicas that came later into the rules of this card. A rule names workloads, but the approved spec can only list the
 * addresses they had then. Each of those tells which siblings it has by now; a sibling joins the very rule that lists whoever
 * introduced it, if that rule names its workload. Lying gains nobody anything: whoever is in a rule could pass on the traffic of
 * others anyway. Those who were introduced introduce nobody.
 */
export function createSiblings(own: Buffer, network: NicNetwork, now: number) {
  let approved = network
  let meant = network
  /** By the first eight bytes of the approved address, in hex. */
  const introduced = new Map<string, Introduced>()
  let serial = Math.floor(Math.random() * 2 ** 32)
  let round = 0
  let nextAt = now
  let waiting: Buffer[] = []

  const others = () => approved.others ?? []
  const rules = () => approved.allow ?? []
  const isNamed = (key: string): boolean =>
    others().some(({ address }) => hex(address).startsWith(key)) ||
    rules().some(({ from }) => from.some((address) => hex(address).startsWith(key)))

  /** Those whom one of NAMED introduced under one of RULES, and are not named themselves. */
  function joining(
    named: Uint8Array[],
    of: readonly string[] | undefined,
  ): Map<string, Announced & { deployment: string }> {
    const known = new Set(named.map(hex))
    const found = new Map<string, Announced & { deployment: string }>()
    for (const address of named)
      for (const one of introduced.get(hex(address).slice(0, 16))?.all ?? []) {
        const { deployment } = introduced.get(hex(address).slice(0, 16))!
        if (!known.has(one.address) && isOf(of, deployment, one) && found.size < MOST)
          found.set(one.address, { ...one, deployment })
      }
    return found
  }

  /** OTHER with its names: one that was approved before it had any (a rule of `*`) tells them itself. */
  function withNames(other: { names: string[]; address: Uint8Array }): { names: string[]; address: Uint8Array } {
    const address = hex(other.address)
    const said = introduced.get(address.slice(0, 16))
    const itself = said?.all.find((one) => one.address === address)
    if (!said || !itself || !isOf(approved.reach, said.deployment, itself)) return other
    const names = itself.names.map((name) => `${name}.${said.deployment}.zos`)
    return { ...other, names: [...new Set([...other.names, ...names])] }
  }

  function work(): void {
    const more = joining(
      others().map(({ address }) => address),
      approved.reach,
    )
    meant = {
      ...approved,
      ...(approved.others
        ? {
            others: [
              ...approved.others.map(withNames),
              ...[...more.values()].map(({ names, address, deployment }) => ({
                names: names.map((name) => `${name}.${deployment}.zos`),
                address: Buffer.from(address, 'hex'),
              })),
            ],
          }
        : {}),
      ...(approved.allow
        ? {
            allow: approved.allow.map((rule) => ({
              ...rule,
              from: [...rule.from, ...[...joining(rule.from, rule.of).keys()].map((a) => Buffer.from(a, 'hex'))],
            })),
          }
        : {}),
    }
  }

  /** Whom this card tells: all of other deployments that its rules mean. */
  function audience(): Buffer[] {
    const mine = new Set(approved.members.map(({ address }) => hex(address)))
    const all = [
      ...(meant.others ?? []).map(({ address }) => address),
      ...(meant.allow ?? []).flatMap(({ from }) => from),
    ]
    return [...new Set(all.map(hex))].filter((one) => !mine.has(one)).map((one) => Buffer.from(one, 'hex'))
  }

  function beginRounds(now: number): void {
    round = 0
    nextAt = now
    waiting = []
  }

  /** Takes a piece of who introduces; true when whom the rules mean has changed. */
  function take(key: string, said: Announcement, now: number): boolean {
    const known = introduced.get(key) ?? { heard: now, serial: -1, pieces: new Map(), deployment: '', all: [] }
    introduced.set(key, known)
    known.heard = now
    if (said.serial !== known.serial) known.pieces.clear()
    known.serial = said.serial
    known.pieces.set(said.part, said.members)
    if (known.pieces.size < said.parts) return false
    const all = [...known.pieces].sort(([a], [b]) => a - b).flatMap(([, members]) => members)
    known.pieces.clear()
    const same = JSON.stringify([said.deployment, all]) === JSON.stringify([known.deployment, known.all])
    known.deployment = said.deployment
    known.all = all
    const silent = [...introduced].filter(([, one]) => now - one.heard > SILENCE)
    const isHeard = [...introduced.values()].some((one) => one !== known && now - one.heard < HEARD)
    if (isHeard) for (const [other] of silent) introduced.delete(other)
    return !same || (isHeard && silent.length > 0)
  }

  return {
    /** The approved network, and in its rules those who were introduced. */
    get network(): NicNetwork {
      return meant
    },

    reform(network: NicNetwork, now: number): void {
      approved = network
      for (const key of introduced.keys()) if (!isNamed(key)) introduced.delete(key)
      work()
      beginRounds(now)
    },

    /** The UDP datagram at BYTES[at, end), from the node's end of the link of who is at SOURCE; true when rules changed. */
    heard(source: Buffer, datagram: Buffer, now: number): boolean {
      const key = source.toString('hex', 0, 8)
      if (!isNamed(key)) return false
      const said = readAnnouncement(datagram.subarray(UDP_HEADER))
      if (!said || said.members.some(({ address }) => !isOverlay(Number.parseInt(address.slice(0, 2), 16))))
        return false
      if (!take(key, said, now)) return false
      const before = meant
      const told = new Set(audience().map(hex))
      work()
      // those who are new know nothing yet
      if (audience().some((one) => !told.has(hex(one)))) beginRounds(now)
      return JSON.stringify([before.others, before.allow]) !== JSON.stringify([meant.others, meant.allow])
    },

    /** Sends what is due; returns when there is more. Milliseconds. */
    tick(now: number, send: (packet: Buffer) => void): number {
      if (now < nextAt) return nextAt
      if (waiting.length === 0) {
        const datagrams = announce(approved, serial++ >>> 0)
        waiting = audience().flatMap((to) =>
          datagrams.map((payload) => {
            const datagram = Buffer.alloc(UDP_HEADER + payload.length)
            datagram.writeUInt16BE(SIBLINGS_PORT, 0)
            datagram.writeUInt16BE(SIBLINGS_PORT, 2)
            datagram.writeUInt16BE(datagram.length, 4)
            payload.copy(datagram, UDP_HEADER)
            return ipv6Packet(gatewayOf(own), gatewayOf(to), UDP, datagram, 6)
          }),
        )
        round++
      }
      for (const packet of waiting.splice(0, SLICE)) send(packet)
      nextAt = now + (waiting.length > 0 ? PAUSE : round === 1 ? SECOND_ROUND : ROUND)
      return nextAt
    },
  }
}
