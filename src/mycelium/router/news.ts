import { advertise } from './advertise.ts'
import type { RouterState } from './state.ts'
import type { Entry, Link } from './types.ts'

// Whoever has many prefixes, or makes one come and go, must not fill the connections of those who are told of it.

/** Records that may be out of date, beyond one for each entry. */
const SPARE = 1_024

/** ENTRY changed: `tellNews` tells all neighbours, as soon as they can be told. */
export function note({ news, entries, links }: RouterState, entry: Entry): void {
  entry.changed = news.first + news.entries.length
  news.entries.push(entry)
  if (news.entries.length > 2 * entries.size + SPARE) compact(news, links.values())
}

/** Drops the records of entries that have changed again since. */
function compact(news: RouterState['news'], links: Iterable<Link>): void {
  const { first, entries } = news
  const kept: Entry[] = []
  const keptBefore = new Uint32Array(entries.length + 1)
  entries.forEach((entry, i) => {
    if (entry.changed === first + i) {
      entry.changed = first + kept.length
      kept.push(entry)
    }
    keptBefore[i + 1] = kept.length
  })
  for (const link of links) link.told = first + keptBefore[link.told - first]!
  news.entries = kept
}

/** Whether LINK may be sent one more update, which is counted. */
function mayTell({ options }: RouterState, link: Link): boolean {
  if (link.updates <= 0 || options.hasRoom?.(link.id) === false) return false
  link.updates--
  return true
}

/** Tells each neighbour what it has not been told yet, while it may be told more; true when anything was sent. */
export function tellNews(state: RouterState, now: number): boolean {
  const { news, links } = state
  if (news.entries.length === 0 && !news.isBehind) return false
  const end = news.first + news.entries.length
  let said = false
  let isTold = true
  let isBehind = false
  for (const link of links.values()) {
    while (link.told < end) {
      const entry = news.entries[link.told - news.first]!
      if (entry.changed === link.told) {
        if (!mayTell(state, link)) break
        advertise(state, entry, now, [link.id])
        said = true
      }
      link.told++
    }
    if (link.told === end && link.dump && tellAll(state, link, link.dump, now)) said = true
    if (link.told < end) isTold = false
    if (link.told < end || link.dump) isBehind = true
  }
  news.isBehind = isBehind
  if (isTold) {
    news.first = end
    news.entries = []
  }
  return said
}

/** The whole table, to a neighbour that asked for it. */
function tellAll(state: RouterState, link: Link, entries: Iterator<Entry>, now: number): boolean {
  let said = false
  while (mayTell(state, link)) {
    const next = entries.next()
    if (next.done) {
      link.dump = undefined
      break
    }
    if (next.value.selected) advertise(state, next.value, now, [link.id])
    said = true
  }
  return said
}
