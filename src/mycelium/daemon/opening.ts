import { readFileSync, statSync } from 'node:fs'
import { closeFd, connectUnix, openTap, openTun } from '#sys'
import { addressOf } from '../address.ts'
import { identityOf } from '../identity.ts'
import { MTU } from '../wire/frame.ts'
import type { AskedCard, OpenedCard, OpenPort, PortSpec } from './ports.ts'

// What the packet thread reads and writes is opened here, on the main one: it may open nothing itself.

/** Packets the kernel keeps for us; a second queue behind ours only adds delay. */
const TUN_QUEUE = 128
/** Frames the kernel keeps for a machine that is slower than what it is sent. */
const TAP_QUEUE = 256
/** Bytes the kernel keeps for us: what a card with no limit, and one with, may have under way. */
const RECEIVE = 4 << 20
const RECEIVE_LIMITED = 512 << 10

/** Opens what an identity of SECRET is attached to; throws what keeps it from that. A card is opened when it is asked for. */
export function openFor(secret: Uint8Array, spec: PortSpec): OpenPort {
  if (spec.kind === 'nic') return spec
  const address = addressOf(identityOf(secret).publicKey)
  return { ...spec, fd: openTun({ name: spec.name, address, prefix: 7, mtu: MTU, offload: true, queue: TUN_QUEUE }) }
}

/** Closes what was opened here and nobody has taken over. */
export function closeAgain(opened: OpenPort | OpenedCard): void {
  if (opened && 'fd' in opened) closeFd(opened.fd)
}

/**
 * The card at PATH: the unix socket of a machine, or a file that says "tap PID NAME", the machine's process and its tap in that
 * process's network namespace. Undefined while no machine is there.
 */
export function openCard({ path, limited }: AskedCard): OpenedCard {
  const file = statSync(path, { throwIfNoEntry: false })
  if (!file) return undefined
  if (file.isSocket()) {
    const fd = connectUnix(path)
    return fd < 0 ? undefined : { kind: 'socket', fd }
  }
  try {
    const said = /^tap ([0-9]+) ([a-z0-9]{1,15})\n$/.exec(readFileSync(path, 'latin1'))
    if (!said) return { kind: 'fault', fault: 'nic-unknown' }
    const receive = limited ? RECEIVE_LIMITED : RECEIVE
    return { kind: 'tap', fd: openTap(`/proc/${said[1]}/ns/net`, said[2]!, { receive, queue: TAP_QUEUE }) }
  } catch {
    // most likely the machine has just ended
    return { kind: 'fault', fault: 'nic-refused' }
  }
}
