import { readFileSync } from 'node:fs'
import { codeOf, reasonOf } from '#codec'
import { type Cursor, connectRpc, type Grid, listGroups, listNodes, openGrid, poll } from '#contract'
import type { Rank } from '#mycelium'
import { sleep } from '#sys'
import type { GridFacts } from '../grid/local.ts'

/** Milliseconds between two looks at the chain; and the least between them, for when somebody came whom it does not know yet. */
const LOOK = 30_000
const SOONEST = 2_000
/** What changes who is known. */
const NEWS = new Set(['NodeSet', 'GroupSet'])

const hexOf = (bytes32: string): string => bytes32.slice(2).toLowerCase()

/**
 * Who is who on the overlay of the grid that FILE describes (which may come to be there later), by its chain: nodes by the key in
 * their record, people by the key that their groups' specs are sealed to. Until SIGNAL; WARN says once why it is not known.
 */
export function followKnown(
  file: string,
  warn: (line: string) => void,
  signal: AbortSignal,
): (publicKey: string) => Rank {
  let nodes: ReadonlySet<string> = new Set()
  /** Of each group, by its id, the keys of its members; of those that could not be read, why. */
  let groups = new Map<string, string[]>()
  let unread = new Map<string, string>()
  let members: ReadonlySet<string> = new Set()
  let grid: Grid | undefined
  let cursor: Cursor | undefined
  let hurry = new AbortController()

  async function look(): Promise<void> {
    if (!grid) {
      const facts = JSON.parse(readFileSync(file, 'utf8')) as GridFacts
      grid = openGrid(await connectRpc(facts.rpc), facts.contract, { since: BigInt(facts.since) })
    }
    const batch = await poll(grid, cursor)
    if (batch.events.some(({ name }) => NEWS.has(name))) {
      const all = await listNodes(grid)
      nodes = new Set(all.flatMap(({ attributes: { overlay } }) => (typeof overlay === 'string' ? [overlay] : [])))
      if (!(await lookAtGroups(grid))) return
    }
    cursor = batch.cursor
  }

  /** Whoever was known stays known while their group cannot be read. False where an RPC kept something back. */
  async function lookAtGroups(grid: Grid): Promise<boolean> {
    const known = new Map<string, string[]>()
    const bad = new Map<string, string>()
    let whole = true
    const note = (id: string, error: unknown) => {
      bad.set(id, reasonOf(error))
      if (groups.has(id)) known.set(id, groups.get(id)!)
      if (codeOf(error) === 'bad-chain') whole = false
      if (unread.get(id) !== bad.get(id)) warn(`who is in group ${id.slice(0, 10)} is not known: ${reasonOf(error)}`)
    }
    for (const { group, set } of await listGroups(grid, { bad: note })) {
      const keys = set.members.map(({ seal }) => hexOf(seal))
      known.set(group, keys)
    }
    groups = known
    unread = bad
    members = new Set([...known.values()].flat())
    return whole
  }

  async function follow(): Promise<void> {
    let failed = ''
    while (!signal.aborted) {
      try {
        await look()
        failed = ''
      } catch (error) {
        // as after a chain that went back, everything is asked for again
        cursor = undefined
        if (failed !== reasonOf(error) && codeOf(error) !== 'ENOENT')
          warn(`who is of the grid is not known: ${reasonOf(error)}`)
        failed = reasonOf(error)
      }
      await sleep(SOONEST, signal).catch(() => {})
      await sleep(LOOK - SOONEST, AbortSignal.any([signal, hurry.signal])).catch(() => {})
      hurry = new AbortController()
    }
  }
  void follow()

  return (publicKey) => {
    if (nodes.has(publicKey)) return 'node'
    if (members.has(publicKey)) return 'member'
    hurry.abort()
    return 'stranger'
  }
}
