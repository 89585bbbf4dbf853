import { mkdirSync, readdirSync, readlinkSync, statSync, watch } from 'node:fs'
import { join } from 'node:path'
import { reasonOf } from '#codec'
import { type Daemon, identityOf, type NicNetwork } from '#mycelium'
import { keepPassts } from './passt.ts'
import { cardsDir } from './place.ts'

/** A workload's identity and what its card may reach, as its group approved them. */
export type Card = { secret: Uint8Array; network: NicNetwork }

/** Cards known at once: more than a node runs. */
const LIMIT = 1024
/** A look without being told, should a notice be lost. Milliseconds. */
const LOOK = 1000

/**
 * Keeps every workload that runs and is known on the overlay: its identity is announced while the compute plane shows
 * where its card is. Both sides may come in any order, go, and come back.
 */
export function keepCards(daemon: Daemon, run: string, log: (line: string) => void) {
  const dir = cardsDir(run)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const known = new Map<string, Card & { publicKey: string; address: Buffer }>()
  /** By workload: which socket it was attached to, as part of which network. */
  const attached = new Map<string, { path: string; publicKey: string; network: NicNetwork }>()
  const passts = keepPassts(daemon, log)
  let working: Promise<void> = Promise.resolve()
  /** The folder's time of change as of the last settling that went through. */
  let settled = Number.NaN
  const changed = (): number => statSync(dir, { throwIfNoEntry: false })?.mtimeMs ?? Number.NaN

  function plugged(): Map<string, string> {
    const found = new Map<string, string>()
    for (const name of readdirSync(dir)) {
      if (name.startsWith('.')) continue
      try {
        found.set(name, readlinkSync(join(dir, name)))
      } catch {
        // unplugged in between
      }
    }
    return found
  }

  async function settle(): Promise<void> {
    settled = Number.NaN
    const since = changed()
    let waiting = false
    const now = plugged()
    for (const [name, at] of attached) {
      const card = known.get(name)
      const isOther = card?.publicKey !== at.publicKey || card.network.egress !== at.network.egress
      if (now.get(name) !== at.path || isOther) {
        attached.delete(name)
        passts.remove(at.publicKey)
        await daemon.detach(at.publicKey)
      } else if (card.network !== at.network) {
        at.network = card.network
        await daemon.reform(at.publicKey, card.network)
      }
    }
    for (const [name, path] of now) {
      const card = known.get(name)
      if (!card || attached.has(name)) continue
      const { secret, network, publicKey, address } = card
      // an earlier version of the workload may still hold the identity: the next look finds it gone
      if ([...attached.values()].some((other) => other.publicKey === publicKey)) {
        waiting = true
        continue
      }
      await daemon.attach({ secret, port: { kind: 'nic', path, network } })
      attached.set(name, { path, publicKey, network })
      const ipv4 = network.members.find((m) => Buffer.compare(m.address, address) === 0)?.ipv4
      if (network.egress && ipv4 !== undefined) passts.add(publicKey, ipv4)
    }
    if (!waiting) settled = since
  }

  /** One settling at a time; the last call's is sure to see what it was called for. */
  const look = (): Promise<void> => {
    working = working.then(settle).catch((error: unknown) => log(`cards: ${reasonOf(error)}`))
    return working
  }

  const watcher = watch(dir, () => void look())
  const timer = setInterval(() => {
    // a hundred cards looked at each second would keep the compiler busy, and its 10 MB in memory
    if (changed() !== settled) void look()
  }, LOOK)
  return {
    /** What the card of workload NAME is; resolves when it is on the overlay, if it is plugged in. */
    set(name: string, card: Card): Promise<void> {
      known.delete(name)
      const { publicKey, address } = identityOf(card.secret)
      known.set(name, { ...card, publicKey: publicKey.toString('hex'), address })
      if (known.size > LIMIT)
        for (const other of known.keys())
          if (!attached.has(other)) {
            known.delete(other)
            break
          }
      return look()
    },
    list: () => [...attached].map(([name, { publicKey }]) => ({ name, publicKey })),
    close(): void {
      watcher.close()
      clearInterval(timer)
    },
  }
}
