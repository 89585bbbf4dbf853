/** The same is told again after so long, and no more than so many lines in a while. Milliseconds. */
const AGAIN = 600_000
const WHILE = 60_000
const LINES = 20
const ENOUGH = 'more is not told of for a minute; look at "zos mycelium routes" and "zos mycelium peers"'
/** Subjects remembered; the one told longest ago is forgotten. */
const MOST = 256

/** What whoever runs this node should know, as lines for TELL: once, however often it happens. */
export function createTelling(tell: (line: string) => void, now: () => number) {
  const told = new Map<string, { line: string; at: number }>()
  let left = LINES
  let since = now()
  /** LINE is about SUBJECT; another one about the same is told at once. */
  return (subject: string, line: string): void => {
    const time = now()
    const before = told.get(subject)
    if (before?.line === line && time - before.at < AGAIN) return
    if (time - since >= WHILE) {
      since = time
      left = LINES
    }
    if (left === 0) tell(ENOUGH)
    if (left-- <= 0) return
    told.delete(subject)
    told.set(subject, { line, at: time })
    if (told.size > MOST) told.delete(told.keys().next().value!)
    tell(line)
  }
}
