import { canonicalJson, sha256, ZosError } from '#codec'

type Hex = `0x${string}`

/** A slot's place in the private network of its deployment. */
export type SlotNetwork = {
  /** Its own X25519 key, 64 hex digits; nobody else's: a node cannot speak in the name of another's slot. */
  secret: string
  /** All slots, itself among them: overlay address as 32 hex digits, and the names it answers to in the deployment. */
  members: { slot: number; names: string[]; address: string }[]
  /** Slots of other deployments that it may open connections to; names are `WORKLOAD.DEPLOYMENT`. */
  others?: { names: string[]; address: string }[]
  /** Who may open connections to which of its ports, by address; absent: all of its deployment, and the group's people. */
  allow?: { from: string[]; people: boolean; ports: { protocol: 'tcp' | 'udp'; port: number }[] }[]
  /** In the first slot's alone: what its deployment's rules name of deployments that are still to come. */
  reserved?: Reserved
}

/** Keys made for slots that rules name before there are any: who deploys these takes them. */
export type Reserved = {
  /** `DEPLOYMENT/WORKLOAD` or `DEPLOYMENT/*`, and the overlay address of its first slot to be. */
  of: { rule: string; address: string }[]
  /** The X25519 keys of those who could open `secrets` then. */
  readers: string[]
  /** An age file to them, in base64: JSON, the key of each rule as 64 hex digits. */
  secrets: string
}

/** What one slot's node and the readers learn: one workload of one version, in the place it has. */
export type SlotSpec = {
  deployment: string
  /** The slot's index: D/N. */
  slot: number
  replica: number
  /** A Workload with its image pinned; any JSON, so that older specs stay readable. */
  workload: Record<string, unknown>
  /** Absent: it has no network. */
  network?: SlotNetwork
}

const LEAF = Buffer.from('zos spec leaf 1\0')
const NODE = Buffer.from('zos spec node 1\0')

const hex = (b: Uint8Array): Hex => `0x${Buffer.from(b).toString('hex')}`
const bytes = (h: Hex) => Buffer.from(h.slice(2), 'hex')

/** SHA-256 over a domain tag, a random 32-byte salt and RFC 8785 JSON: a spec of little entropy cannot be guessed. */
export function leafOf(spec: SlotSpec, salt: Uint8Array): Hex {
  if (salt.length !== 32) throw new ZosError('Hash spec: the salt is not 32 bytes', { code: 'bad-salt', kind: 'bug' })
  return hex(sha256(LEAF, salt, Buffer.from(canonicalJson(spec))))
}

const join = (a: Uint8Array, b: Uint8Array) => sha256(NODE, a, b)

/** Root of the leaves in order (RFC 6962's shape: an odd one moves up unchanged). Tags keep leaves and nodes apart. */
export function merkleRoot(leaves: Hex[]): Hex {
  if (leaves.length === 0) throw new ZosError('Hash specs: there are none', { code: 'no-leaves', kind: 'bug' })
  let level: Uint8Array[] = leaves.map(bytes)
  while (level.length > 1) level = up(level)
  return hex(level[0]!)
}

function up(level: Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = []
  for (let i = 0; i < level.length; i += 2)
    above.push(i + 1 < level.length ? join(level[i]!, level[i + 1]!) : level[i]!)
  return above
}

/** The siblings from leaf INDEX up to the root. */
export function merkleProof(leaves: Hex[], index: number): Hex[] {
  const proof: Hex[] = []
  let level: Uint8Array[] = leaves.map(bytes)
  for (let at = index; level.length > 1; at >>= 1) {
    const sibling = level[at ^ 1]
    if (sibling) proof.push(hex(sibling))
    level = up(level)
  }
  return proof
}

/** The root that LEAF at INDEX of COUNT and its siblings give; undefined when they do not fit together. */
export function rootFrom(leaf: Hex, index: number, count: number, proof: Hex[]): Hex | undefined {
  if (index < 0 || index >= count) return undefined
  let hash: Uint8Array = bytes(leaf)
  let used = 0
  for (let at = index, n = count; n > 1; at >>= 1, n = (n + 1) >> 1) {
    if ((at ^ 1) >= n) continue
    const sibling = proof[used++]
    if (!sibling) return undefined
    hash = at & 1 ? join(bytes(sibling), hash) : join(hash, bytes(sibling))
  }
  return used === proof.length ? hex(hash) : undefined
}
