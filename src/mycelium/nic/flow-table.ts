/** Connections remembered of one card: sets of four, the one unused for longest gives way. */
const SETS = 1024
const WAYS = 4
/** 32-bit words of an entry: address, ports, protocol. */
const WORDS = 6
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
        table[entry + 5] === protocol &&
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
    /** Forgets all flows but those with one of the /64s KEPT (8 bytes, latin1). */
    keep(kept: ReadonlySet<string>): void {
      if (!entries || !seen) return
      const subnet = Buffer.alloc(8)
      for (let entry = 0; entry < seen.length; entry++) {
        subnet.writeInt32LE(entries[entry * WORDS]!, 0)
        subnet.writeInt32LE(entries[entry * WORDS + 1]!, 4)
        if (!kept.has(subnet.toString('latin1'))) seen[entry] = Number.NEGATIVE_INFINITY
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

    remember(address: Buffer, at: number, protocol: number, own: number, other: number, now: number): void {
      entries ??= new Int32Array(SETS * WAYS * WORDS)
      seen ??= new Float64Array(SETS * WAYS).fill(Number.NEGATIVE_INFINITY)
      const ports = (own << 16) | other
      let found = find(entries, address, at, protocol, ports)
      if (found < 0) {
        const first = (-1 - found) * WAYS
        found = first
        for (let way = 1; way < WAYS; way++) if (seen[first + way]! < seen[found]!) found = first + way
        const [a, b, c, d] = words(address, at)
        entries.set([a, b, c, d, ports, protocol], found * WORDS)
      }
      seen[found] = now
    },
  }
}

export type FlowTable = ReturnType<typeof createFlowTable>

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
