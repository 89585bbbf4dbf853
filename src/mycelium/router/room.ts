import type { Subnet } from '../address.ts'
import type { RouterState } from './state.ts'
import { newEntry } from './table.ts'
import type { Entry, Link } from './types.ts'

const OF_THE_REST = 4

/**
 * A new entry, if the host of LINK may have one more: of what it told of first the table holds four times the room that is left,
 * so that others find room (as in `daemon/out-queue.ts`). A table does not drain, though, and hosts that came one after another
 * would each leave a fifth. What nobody else looks for has therefore a share that falls with the square of the room: after n hosts
 * one part in 4n is left, and what is looked for finds room behind a neighbour that passes on what somebody made up. Who looks
 * for it may be in league with who tells of it: what comes so counts as the asker's, whose share is as small.
 */
export function addEntry(state: RouterState, link: Link, subnet: Subnet, now: number): Entry | undefined {
  const { entries, held, asked, limits, queries } = state
  const left = limits.subnets - entries.size
  const share = OF_THE_REST * left * (left / limits.subnets)
  const has = held.get(link.host) ?? 0
  const entry = newEntry(subnet, link.host, now)
  if (has >= share) {
    const query = queries.get(subnet)
    entry.asker = query?.askers.find((host) => host !== link.host && (asked.get(host) ?? 0) < share)
    const isWanted = query?.own || entry.asker !== undefined
    if (!isWanted || has >= OF_THE_REST * left) return undefined
    if (query?.own) entry.asker = undefined
  }
  entries.set(subnet, entry)
  add(held, link.host, 1)
  if (entry.asker !== undefined) add(asked, entry.asker, 1)
  return entry
}

/** Once nothing is known of it any more: a host that is gone has its part until then, and again when it comes back. */
export function removeEntry({ entries, held, asked }: RouterState, { subnet, host, asker }: Entry): void {
  entries.delete(subnet)
  add(held, host, -1)
  if (asker !== undefined) add(asked, asker, -1)
}

function add(counts: Map<string, number>, host: string, more: number): void {
  const now = (counts.get(host) ?? 0) + more
  if (now > 0) counts.set(host, now)
  else counts.delete(host)
}
