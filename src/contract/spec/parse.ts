import { ZosError } from '#codec'
import { isMap, isScalar, LineCounter, type Node, parseDocument, type z } from '#npm'
import { type Spec, specSchema } from './schema.ts'

const SIZE_LIMIT = 1 << 20

/**
 * Parses a deployment spec, YAML or JSON (which YAML contains). What is wrong is named by file, line, column and
 * field, the first place first.
 */
export function parseSpec(text: string, file: string): Spec {
  if (text.length > SIZE_LIMIT) throw bad(`${file}: ${text.length} characters, above the limit of ${SIZE_LIMIT}`, file)
  const lines = new LineCounter()
  const doc = parseDocument(text, {
    lineCounter: lines,
    schema: 'failsafe',
    logLevel: 'error',
    prettyErrors: false,
    uniqueKeys: true,
  })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const broken = doc.errors[0] ?? doc.warnings[0]
  if (broken) {
    const reason =
      broken.code === 'MULTIPLE_DOCS' ? 'a file holds one spec: give each its own' : broken.message.split('\n')[0]!
    throw bad(`${at(broken.pos[0])}: ${reason.replace(/\.$/, '')}`, file)
  }
  if (!isMap(doc.contents)) throw bad(`${at(0)}: a spec is a mapping that begins with "name:"`, file)
  let value: unknown
  try {
    value = doc.toJS({ maxAliasCount: 50 })
  } catch {
    throw bad(`${file}: too many aliases`, file)
  }
  const parsed = specSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const { issues } = parsed.error
  // a rule over several fields says nothing useful while one of them is malformed
  const within = (a: PropertyKey[], b: PropertyKey[]) => a.length < b.length && a.every((p, n) => p === b[n])
  const telling = issues.filter((i) => i.code !== 'custom' || !issues.some((j) => within(i.path, j.path)))
  const faults = telling.map((issue) => {
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0]! : undefined
    const path = unknown === undefined ? issue.path : [...issue.path, unknown]
    const field = path
      .map((p) => (typeof p === 'number' ? `[${p}]` : `.${String(p)}`))
      .join('')
      .replace(/^\./, '')
    const offset = offsetOf(doc.contents as Node, path as (string | number)[])
    const missing = issue.code === 'invalid_type' && issue.message.includes('received undefined')
    const reason = unknown !== undefined ? 'there is no such field' : missing ? 'is missing' : saidOf(issue)
    return { offset, line: `${at(offset)}: ${field}: ${reason}` }
  })
  faults.sort((a, b) => a.offset - b.offset)
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : ''
  throw bad(`${faults[0]!.line}${more}`, file, { faults: faults.map((f) => f.line) })
}

const FORMS: Record<string, string> = {
  record: 'take a mapping such as { NAME: value }',
  object: 'take a mapping such as { field: value }',
  array: 'take a list such as [a, b]',
  string: 'take one word or text',
}

/** A fault in words for people: where a rule of the schema has none of its own, those of zod speak of types. */
function saidOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message
  if (issue.code === 'invalid_union') return 'take one word, or a list such as [a, b]'
  if (issue.code === 'invalid_type') return FORMS[issue.expected] ?? issue.message
  if (issue.code === 'too_big' && issue.message.startsWith('Too big'))
    return `take at most ${issue.maximum} ${issue.origin === 'array' ? 'entries' : 'characters'}`
  return issue.message
}

const bad = (reason: string, file: string, details: Record<string, unknown> = {}) =>
  new ZosError(`Read spec ${reason}`, { code: 'bad-spec', details: { file, ...details } })

/** Where PATH's key stands in the document; for what is missing, where its parent does. */
function offsetOf(root: Node, path: (string | number)[]): number {
  let node: Node | null = root
  let offset = root.range?.[0] ?? 0
  for (const part of path) {
    let next: unknown
    if (isMap(node)) {
      const pair = node.items.find((p) => isScalar(p.key) && p.key.value === String(part))
      if (!pair) break
      offset = (pair.key as Node).range?.[0] ?? offset
      next = pair.value
    } else if (node && 'items' in node) {
      next = (node.items as Node[])[Number(part)]
      offset = (next as Node | undefined)?.range?.[0] ?? offset
    }
    if (!next) break
    node = next as Node
  }
  return offset
}
