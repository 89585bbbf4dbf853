import { ZosError } from '#codec'
import { callable, EAGAIN, readFd, writeFd } from '#sys'
import type { Identity } from '../identity.ts'
import { guarded } from '../nic/guarded.ts'
import type { NicNetwork, NicSpec } from '../nic/network.ts'
import { nicPort } from '../nic/port.ts'
import { IPV6_HEADER } from '../wire/icmp.ts'
import { LARGEST } from '../wire/large.ts'
import type { Port } from './local.ts'
import {
  finishChecksum,
  noOffload,
  type Offload,
  type PacketBuffer,
  packetBuffer,
  readVnet,
  VNET_HEADER,
} from './offload.ts'
import { HEADROOM } from './plane-context.ts'
import { READABLE, type Reactor } from './reactor.ts'

/** What to attach an identity to; each kind is one case of `openFor` (`opening.ts`) and of `openPort`. */
export type PortSpec = { kind: 'tun'; name: string; network?: NicNetwork } | NicSpec
/** The same, opened: the descriptor belongs to who gets it. */
export type OpenPort = { kind: 'tun'; name: string; network?: NicNetwork; fd: number } | NicSpec

/** The card at PATH, of a workload with a limit or without. */
export type AskedCard = { path: string; limited: boolean }
/** Undefined while no machine is there; a fault is counted by its name. */
export type OpenedCard = { kind: 'socket' | 'tap'; fd: number } | { kind: 'fault'; fault: string } | undefined

export type PortHooks = {
  reactor: Reactor
  identity: Identity
  count: (name: string) => void
  /** Has a card opened; DONE gets it, later. */
  openCard: (card: AskedCard, done: (card: OpenedCard) => void) => void
  /** Hands over the packet at AT; HEADROOM bytes before it are free to be overwritten, and it need not be kept. */
  send: (packet: PacketBuffer, at: number, length: number, offload?: Offload) => void
}

export function openPort(spec: OpenPort, hooks: PortHooks): Port {
  if (spec.kind === 'nic') return nicPort(spec, hooks)
  const open = (with_: PortHooks) =>
    fdPort(spec.fd, with_, (code) => {
      throw new ZosError(`Read TUN interface "${spec.name}": it is gone; somebody has deleted it, start this again`, {
        code: 'tun-lost',
        kind: 'node',
        details: { errno: -code },
      })
    })
  return spec.network ? guarded(spec.network, hooks, open) : open(hooks)
}

const MAX_PACKET = 0xffff
/** Packets and bytes read before others get their turn: a ping must not wait for megabytes. */
const BATCH = 64
const BATCH_BYTES = 192 << 10
/** One for all: a packet is done with when `send` returns. */
const ROOM = HEADROOM + IPV6_HEADER + MAX_PACKET + 1
const incoming = packetBuffer(ROOM, callable(ROOM))
const offload = noOffload()

/**
 * A port whose other side is a descriptor that gives and takes a packet at a time, as a TUN's does. It is closed with it. LOST
 * gets the errno when there is nothing behind it any more, and would get it again and again.
 */
export function fdPort(
  fd: number,
  { reactor, count, send }: Pick<PortHooks, 'reactor' | 'count' | 'send'>,
  lost: (code: number) => void = () => {},
): Port {
  const { bytes } = incoming
  const watch = reactor.watch(fd, READABLE, () => {
    let taken = 0
    for (let i = 0; i < BATCH && taken < BATCH_BYTES; i++) {
      const n = readFd(fd, bytes, HEADROOM - VNET_HEADER, VNET_HEADER + IPV6_HEADER + MAX_PACKET)
      if (n === -EAGAIN) return
      if (n <= 0) {
        lost(n)
        return
      }
      taken += n
      const length = n - VNET_HEADER
      const isKnown = readVnet(bytes, HEADROOM, offload)
      const unfinished = offload.gsoSize === 0 && offload.checksumStart > 0
      if (!isKnown || (unfinished && !finishChecksum(incoming, HEADROOM, length, offload))) count('odd-offload')
      else send(incoming, HEADROOM, length, offload)
    }
  })
  return {
    largest: LARGEST,
    wholeSubnet: false,
    uncut: false,
    write(packet, at, length) {
      if (writeFd(fd, packet.bytes, at - VNET_HEADER, length + VNET_HEADER) < 0) count('tun-refused')
    },
    close: () => reactor.close(watch),
  }
}
