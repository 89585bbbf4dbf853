import { connect } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { open } from '#cas'
import { ZosError } from '#codec'
import { addressOf, type Service } from '#mycelium'
import { http } from '#sys'
import { CHUNKS_SOCKET } from './place.ts'

/** Under this name a node offers others what it has of objects. */
export const CHUNKS = 'chunks'
/** Nodes asked for one object before a hub is. */
const ASKED = 2
/** An answer that takes longer is not near. Milliseconds. */
const DEADLINE = 1_000
const LIMIT = 1 << 20
/** A node is left alone for REST after ABSENT objects in a row that it lacks, for AWAY after it failed, for LIED. Milliseconds. */
const ABSENT = 8
const REST = 10_000
const AWAY = 30_000
const LIED = 600_000

type Node = { address: Buffer; took: number; absent: number; after: number }
/** An image that is here, and the public keys of the nodes that are given of it; absent: all of the grid's. */
export type Shared = { digest: string; to?: readonly string[] }
type Dial = (address: Uint8Array, service: string) => Duplex

export type Near = ReturnType<typeof nearNodes>

/** What NODE answers to a request for ID. */
function ask(dial: Dial, { address }: Node, id: string): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const out = http().request(
      { createConnection: () => dial(address, CHUNKS), host: 'node', path: `/objects/${id}` },
      (res) => {
        const chunks: Buffer[] = []
        let size = 0
        res.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > LIMIT) out.destroy(new Error(`more than ${LIMIT} bytes`))
          else chunks.push(chunk)
        })
        res.on('error', reject)
        res.on('end', () => resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks) }))
      },
    )
    const timer = setTimeout(() => out.destroy(new Error('too slow')), DEADLINE)
    out.on('close', () => clearTimeout(timer))
    out.on('error', reject)
    out.end()
  })
}

/** The other nodes of the grid: asked for objects before a hub is, the quickest first; each answer is checked. */
export function nearNodes() {
  let nodes: Node[] = []
  let keys: ReadonlySet<string> = new Set()
  let images: readonly Shared[] = []
  let dial: Dial | undefined
  const counters = { given: 0, absent: 0, failed: 0, lied: 0 }

  /** The object of NODE, if it has it as it should be. */
  async function from(node: Node, by: Dial, id: string): Promise<Buffer | undefined> {
    const begun = performance.now()
    const rest = (time: number) => {
      node.after = performance.now() + time
      node.absent = 0
    }
    try {
      const { status, body } = await ask(by, node, id)
      const took = performance.now() - begun
      node.took = node.took === 0 ? took : (7 * node.took + took) / 8
      if (status !== 200) {
        counters.absent++
        if (++node.absent >= ABSENT) rest(REST)
      } else if (open(id, body).ok) {
        counters.given++
        node.absent = 0
        return body
      } else {
        counters.lied++
        rest(LIED)
      }
    } catch {
      counters.failed++
      rest(AWAY)
    }
    return undefined
  }

  return {
    counters,
    /** Reached by DIAL from now on. */
    by(now: Dial): void {
      dial = now
    },
    /** Public keys (hex) of the other nodes, as the chain has them; what of IMAGES here they may have, as their groups say. */
    set(now: readonly string[], shared: readonly Shared[] = []): void {
      images = shared
      const known = new Map(nodes.map((node) => [node.address.toString('hex'), node]))
      keys = new Set(now)
      nodes = now.map((key) => {
        const address = addressOf(Buffer.from(key, 'hex'))
        return known.get(address.toString('hex')) ?? { address, took: 0, absent: 0, after: 0 }
      })
    },
    async find(id: string): Promise<Buffer | undefined> {
      if (!dial) return undefined
      const willing = nodes.filter(({ after }) => after <= performance.now()).sort((a, b) => a.took - b.took)
      for (const node of willing.slice(0, ASKED)) {
        const found = await from(node, dial, id)
        if (found) return found
      }
      return undefined
    },
    /** What this node offers the others: what its storage plane, of the run folder RUN, has of images that are for them. */
    service:
      (run: string): Service =>
      ({ publicKey }) => {
        if (!keys.has(publicKey)) throw new ZosError('only nodes of the grid are served', { code: 'not-a-node' })
        const theirs = images.filter(({ to }) => !to || to.includes(publicKey)).map(({ digest }) => digest)
        const storage = connect({ path: join(run, CHUNKS_SOCKET), allowHalfOpen: true })
        storage.write(`${theirs.join(' ')}\n`)
        return storage
      },
  }
}
