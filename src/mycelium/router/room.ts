import type { Subnet } from '../address.ts'
import { OF_THE_REST } from '../share.ts'
import type { RouterState } from './state.ts'
import { newEntry } from './table.ts'
import type { Entry, Link } from './types.ts'

/**
 * A new entry, if the host of LINK may have one more; undefined if not. An entry counts for the host that told of it first.
 *
 * - A host may have four times as many entries as are left free, so that others find room (`OF_THE_REST`); the last one too.
 * - A table does not drain as a queue does: hosts that come one after another would each take four fifths of what is left. So
 *   what nobody looks for has a smaller share, which falls with the square of the room: after n hosts one part in 4n is left.
 * - The larger share is for subnets that somebody looks for: they find room even behind a neighbour that has passed on made-up
 *   ones. A host that looks for one may be in league with LINK's: the entry is charged to it as well, and its share is small.
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

/** To be called once nothing is known of it any more: until then it counts for its host, also when that host is gone. */
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
