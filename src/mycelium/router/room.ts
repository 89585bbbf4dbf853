import type { Subnet } from '../address.ts'
import type { RouterState } from './state.ts'
import { newEntry } from './table.ts'
import type { Entry, Link } from './types.ts'

const OF_THE_REST = 4

/**
 * A new entry, if the host of LINK may have one more: of what it told of first the table holds four times the room that is left,
 * so that others find room (as in `daemon/out-queue.ts`). A table does not drain, though, and hosts that came one after another
 * would each leave a fifth. What nobody else looks for has therefore a share that falls with the square of the room: after n hosts
 * one part in 4n is left, and what is looked for finds room behind a neighbour that passes on what somebody made up.
 */
export function addEntry(state: RouterState, link: Link, subnet: Subnet, now: number): Entry | undefined {
  const { entries, held, limits, queries } = state
  const left = limits.subnets - entries.size
  const query = queries.get(subnet)
  const isWanted = query !== undefined && query.asker !== link.host
  const share = OF_THE_REST * left * (isWanted ? 1 : left / limits.subnets)
  const has = held.get(link.host) ?? 0
  if (has >= share) return undefined
  const entry = newEntry(subnet, link.host, now)
  entries.set(subnet, entry)
  held.set(link.host, has + 1)
  return entry
}

/** Once nothing is known of it any more: a host that is gone has its part until then, and again when it comes back. */
export function removeEntry({ entries, held }: RouterState, { subnet, host }: Entry): void {
  entries.delete(subnet)
  const has = held.get(host)!
  if (has > 1) held.set(host, has - 1)
  else held.delete(host)
}
