import type { Subnet } from '../address.ts'

/** What waits for a route, in all and for one subnet. */
const TOTAL_BYTES = 4 << 20
const PER_SUBNET = 64

type Waiting = { packets: Buffer[]; frames: Buffer[]; bytes: number }

/** Packets of ours and sealed frames for us that cannot move before a route (and with it a key) is known. */
export function createPending() {
  const waiting = new Map<Subnet, Waiting>()
  let total = 0

  function put(subnet: Subnet, kind: 'packets' | 'frames', bytes: Buffer): boolean {
    const known = waiting.get(subnet) ?? { packets: [], frames: [], bytes: 0 }
    if (known[kind].length >= PER_SUBNET || total + bytes.length > TOTAL_BYTES) return false
    waiting.set(subnet, known)
    known[kind].push(Buffer.from(bytes))
    known.bytes += bytes.length
    total += bytes.length
    return true
  }

  return {
    /** False when too much waits already. */
    putPacket: (subnet: Subnet, packet: Buffer) => put(subnet, 'packets', packet),
    putFrame: (subnet: Subnet, frame: Buffer) => put(subnet, 'frames', frame),
    /** Takes out everything that waits for SUBNET. */
    take(subnet: Subnet): { packets: Buffer[]; frames: Buffer[] } | undefined {
      const known = waiting.get(subnet)
      if (!known) return undefined
      waiting.delete(subnet)
      total -= known.bytes
      return known
    },
    get bytes(): number {
      return total
    },
  }
}
