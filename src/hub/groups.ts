import { readFileSync } from 'node:fs'
import { codeOf, reasonOf, ZosError } from '#codec'
import { connectRpc, type Grid, openGrid, type Readers, readReaders } from '#contract'
import { z } from '#npm'

type Hex = `0x${string}`

/** What a hub needs of a grid's file (`zos grid export`); the rest is others' affair. */
const factsSchema = z.looseObject({
  format: z.literal('zos-grid/1'),
  chainId: z.int().positive(),
  genesis: z.string(),
  contract: z.string().regex(/^0x[0-9a-f]{40}$/),
  since: z.int().min(0),
  rpc: z.array(z.string()).min(1),
})

/**
 * Milliseconds. What is known of who may read is used unasked for FRESH, and for KEPT while the chain is away. For somebody who is
 * not among them the chain is asked again at once, but at most every SOONEST.
 */
const FRESH = 30_000
const KEPT = 600_000
const SOONEST = 1_000
/** After a chain that failed. */
const REST = 2_000
/** Domains of which it is known, and looks at the chain at a time. */
const DOMAINS = 1024
const LOOKS = 8

type Known = {
  readers: Readers | undefined
  at: number
  looking: Promise<void> | undefined
  failed: unknown
  tried: number
}

/** Who may read and bring what a group keeps at this hub, as the chain of the grid says. */
export type Groups = {
  /** The grid, for which signatures are; throws `chain-away`. */
  grid(): Promise<Grid>
  /** Whether SIGNER (a member's signer, a node's address) is among those who may read DOMAIN. Throws `chain-away`. */
  mayRead(domain: string, signer: Hex): Promise<boolean>
  /** Whether it is a member. */
  isMember(domain: string, signer: Hex): Promise<boolean>
}

/** FILE describes the grid; it may come to be there later. FRESH: milliseconds that an answer of the chain counts unasked. */
export function openGroups(file: string, fresh: number = FRESH): Groups {
  const now = () => performance.now()
  let grid: Promise<Grid> | undefined
  let looks = 0
  const domains = new Map<string, Known>()

  const away = (cause: unknown) =>
    new ZosError(`Ask the chain who may read: ${reasonOf(cause)}; try again later`, {
      code: 'chain-away',
      kind: 'node',
      cause,
    })

  async function reach(): Promise<Grid> {
    const facts = factsSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
    const engine = await connectRpc(facts.rpc)
    if (engine.chainId !== facts.chainId || engine.genesis !== facts.genesis)
      throw new Error(`"${facts.rpc[0]}" is another chain than that of "${file}"`)
    return openGrid(engine, facts.contract as Hex, { since: BigInt(facts.since) })
  }
  const gridNow = () => {
    grid ??= reach().catch((error: unknown) => {
      grid = undefined
      throw away(error)
    })
    return grid
  }

  async function look(domain: string, known: Known): Promise<void> {
    const [group, name] = domain.split('/') as [string, string]
    try {
      const before = known.readers
      const readers = await readReaders(await gridNow(), `0x${group}`, name, before)
      if (before && (readers.epoch < before.epoch || readers.sequence < before.sequence))
        throw new Error('it went back behind what it had said before')
      known.readers = readers
      known.at = known.tried
      known.failed = undefined
    } catch (error) {
      known.failed = error
      // nobody is of a group that is none; of one that was there nothing is unlearnt
      if (codeOf(error) === 'no-group' && !known.readers) known.at = known.tried
    }
  }

  /** What is known of DOMAIN, asked for again where it is older than OLDEST (ms). */
  async function readersOf(domain: string, oldest: number): Promise<Readers | undefined> {
    let known = domains.get(domain)
    if (!known) {
      known = {
        readers: undefined,
        at: Number.NEGATIVE_INFINITY,
        looking: undefined,
        failed: undefined,
        tried: now() - REST,
      }
      for (const other of domains.keys()) if (domains.size >= DOMAINS) domains.delete(other)
      domains.set(domain, known)
    }
    const rests = known.failed !== undefined && now() - known.tried < REST
    if (now() - known.at > oldest && !rests) {
      if (!known.looking) {
        if (looks >= LOOKS)
          throw new ZosError(`Ask the chain who may read: ${LOOKS} questions are on their way; try again in a second`, {
            code: 'busy',
            kind: 'node',
          })
        looks++
        known.tried = now()
        const asked = known
        known.looking = look(domain, asked).finally(() => {
          looks--
          asked.looking = undefined
        })
      }
      await known.looking
    }
    if (now() - known.at > KEPT) throw away(known.failed)
    return known.readers
  }

  const whether = async (domain: string, holds: (readers: Readers) => boolean): Promise<boolean> => {
    const said = async (oldest: number) => {
      const readers = await readersOf(domain, oldest)
      return readers !== undefined && holds(readers)
    }
    // who is not among them may have come to be since
    return (await said(fresh)) || (await said(Math.min(fresh, SOONEST)))
  }
  return {
    grid: gridNow,
    mayRead: (domain, signer) => whether(domain, ({ members, nodes }) => members.has(signer) || nodes.has(signer)),
    isMember: (domain, signer) => whether(domain, ({ members }) => members.has(signer)),
  }
}
