/** Connections remembered of one card: sets of four, the one unused for longest gives way. */
const SETS = 1024
const WAYS = 4
/** 32-bit words of an entry: address, ports, protocol and who opened it. */
const WORDS = 6
/** Who opened a flow; both, where it is not known. */
export const HERE = 0x100
export const THERE = 0x200
const PROTOCOL = 0xff
/** Milliseconds a connection may be silent. TCP: RFC 5382 §5 (2 h 4 min); UDP: RFC 4787 §4.3; others as UDP. */
const TCP = 6
const TCP_IDLE = 7_440_000
const OTHER_IDLE = 300_000

/**
 * Who this card talks to, so that answers are told from new connections. Fixed in size, nothing is allocated per packet.
 * Ports are the card's own and the other side's, whichever way a packet goes.
 */
export function createFlowTable() {
  let entries: Int32Array | undefined
  let seen: Float64Array | undefined

  function find(table: Int32Array, address: Buffer, at: number, protocol: number, ports: number): number {
    const [a, b, c, d] = words(address, at)
    const set = setOf(a, b, c, d, protocol, ports)
    for (let way = 0; way < WAYS; way++) {
      const entry = (set * WAYS + way) * WORDS
      if (
        table[entry + 4] === ports &&
        (table[entry + 5]! & PROTOCOL) === protocol &&
        table[entry] === a &&
        table[entry + 1] === b &&
        table[entry + 2] === c &&
        table[entry + 3] === d
      )
        return set * WAYS + way
    }
    return -1 - set
  }

  return {
    /** Forgets all flows but those KEPT: by the other side's /64 (8 bytes, latin1), protocol, the card's port and who opened it. */
    keep(kept: (subnet: string, protocol: number, own: number, opened: number) => boolean): void {
      if (!entries || !seen) return
      const subnet = Buffer.alloc(8)
      for (let entry = 0; entry < seen.length; entry++) {
        const at = entry * WORDS
        subnet.writeInt32LE(entries[at]!, 0)
        subnet.writeInt32LE(entries[at + 1]!, 4)
        const what = entries[at + 5]!
        if (!kept(subnet.toString('latin1'), what & PROTOCOL, entries[at + 4]! >>> 16, what & ~PROTOCOL))
          seen[entry] = Number.NEGATIVE_INFINITY
      }
    },

    /** True while the flow is remembered at NOW (milliseconds); that renews it. */
    knows(address: Buffer, at: number, protocol: number, own: number, other: number, now: number): boolean {
      if (!entries || !seen) return false
      const found = find(entries, address, at, protocol, (own << 16) | other)
      if (found < 0 || now - seen[found]! > (protocol === TCP ? TCP_IDLE : OTHER_IDLE)) return false
      seen[found] = now
      return true
    },

    /** OPENED: HERE, THERE or both. */
    remember(
      address: Buffer,
      at: number,
      protocol: number,
      own: number,
      other: number,
      now: number,
      opened: number,
    ): void {
      entries ??= new Int32Array(SETS * WAYS * WORDS)
      seen ??= new Float64Array(SETS * WAYS).fill(Number.NEGATIVE_INFINITY)
      const ports = (own << 16) | other
      let found = find(entries, address, at, protocol, ports)
      if (found < 0) {
        const first = (-1 - found) * WAYS
        found = first
        for (let way = 1; way < WAYS; way++) if (seen[first + way]! < seen[found]!) found = first + way
        const [a, b, c, d] = words(address, at)
        entries.set([a, b, c, d, ports], found * WORDS)
      }
      entries[found * WORDS + 5] = protocol | opened
      seen[found] = now
    },
  }
}

const quad: [number, number, number, number] = [0, 0, 0, 0]
/** The address as four words, in one array that is used again and again. */
function words(address: Buffer, at: number): [number, number, number, number] {
  quad[0] = address.readInt32LE(at)
  quad[1] = address.readInt32LE(at + 4)
  quad[2] = address.readInt32LE(at + 8)
  quad[3] = address.readInt32LE(at + 12)
  return quad
}

function setOf(a: number, b: number, c: number, d: number, protocol: number, ports: number): number {
  let hash = Math.imul(a ^ Math.imul(b, 0x85ebca6b), 0x01000193) ^ protocol
  hash = Math.imul(hash ^ c, 0x01000193)
  hash = Math.imul(hash ^ d, 0x01000193)
  hash = Math.imul(hash ^ ports, 0x85ebca6b)
  return (hash ^ (hash >>> 15)) & (SETS - 1)
}
