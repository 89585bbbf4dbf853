import type { Entry } from '../types.ts'

/** Path of entry INDEX from the root as text; bytes that are not UTF-8 show as U+FFFD. */
export function pathOf(entries: readonly Pick<Entry, 'parent' | 'name'>[], index: number): string {
  const parts: string[] = []
  // the depth bound ends a loop of parents in a tree nobody checked
  for (let n = index, depth = 0; n !== 0 && depth < 10_000; depth++) {
    const entry = entries[n]
    if (!entry) break
    parts.push(entry.name.toString())
    n = entry.parent
  }
  return `/${parts.reverse().join('/')}`
}
