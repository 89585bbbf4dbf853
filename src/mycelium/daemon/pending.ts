import type { Subnet } from '../address.ts'
import { leavesRoom } from '../share.ts'

/** Bytes that may wait for routes: as much of our own packets as of others' frames. And how many of each for one subnet. */
const TOTAL_BYTES = 4 << 20
const PER_SUBNET = 64

type Frame = { frame: Buffer; host: string }
type Waiting = { packets: Buffer[]; frames: Frame[] }

const sizeOf = (parts: readonly Buffer[]): number => parts.reduce((sum, part) => sum + part.length, 0)

/** Packets of ours and sealed frames for us or others that cannot move before a route (and with it a key) is known. */
export function createPending() {
  const waiting = new Map<Subnet, Waiting>()
  /** Bytes of frames by the host that they came from. */
  const held = new Map<string, number>()
  let ours = 0
  let others = 0

  function of(subnet: Subnet): Waiting {
    const known = waiting.get(subnet) ?? { packets: [], frames: [] }
    waiting.set(subnet, known)
    return known
  }

  return {
    /** False when too much waits already. */
    putPacket(subnet: Subnet, packet: Buffer): boolean {
      if (ours + packet.length > TOTAL_BYTES) return false
      const { packets } = of(subnet)
      if (packets.length >= PER_SUBNET) return false
      packets.push(Buffer.from(packet))
      ours += packet.length
      return true
    },

    /** HOST sent it. */
    putFrame(subnet: Subnet, frame: Buffer, host: string): boolean {
      const has = held.get(host) ?? 0
      if (!leavesRoom(has, others, frame.length, TOTAL_BYTES)) return false
      const { frames } = of(subnet)
      if (frames.length >= PER_SUBNET) return false
      frames.push({ frame: Buffer.from(frame), host })
      held.set(host, has + frame.length)
      others += frame.length
      return true
    },

    /** Takes out everything that waits for SUBNET. */
    take(subnet: Subnet): { packets: Buffer[]; frames: Buffer[] } | undefined {
      const known = waiting.get(subnet)
      if (!known) return undefined
      waiting.delete(subnet)
      ours -= sizeOf(known.packets)
      for (const { frame, host } of known.frames) {
        others -= frame.length
        const left = held.get(host)! - frame.length
        if (left > 0) held.set(host, left)
        else held.delete(host)
      }
      return { packets: known.packets, frames: known.frames.map(({ frame }) => frame) }
    },

    get bytes(): number {
      return ours + others
    },
  }
}
