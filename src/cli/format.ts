import { ZosError } from '#codec'
import { table } from './terminal.ts'

type Piece = string | { path: string[]; json: boolean; key?: string }

const ACTION = /\{\{-?\s*(.*?)\s*-?\}\}/g
const WORDS = /^(?:(json|index)\s+)?((?:\.[A-Za-z_]\w*)+|\.)(?:\s+"([^"]*)")?$/

const bad = (text: string, why: string): ZosError =>
  new ZosError(`Read --format "${text}": ${why}`, { code: 'bad-format' })

const unescaped = (text: string): string => text.replaceAll('\\t', '\t').replaceAll('\\n', '\n')

/** One action, the words between the braces. */
function action(text: string, words: string): Piece {
  const found = WORDS.exec(words)
  const [, verb, path, key] = found ?? []
  if (!found || (verb === 'index') !== (key !== undefined))
    throw bad(text, `"{{${words}}}" is not understood; write {{.Path}}, {{json .Path}} or {{index .Path "key"}}`)
  return { path: path!.split('.').filter(Boolean), json: verb === 'json', ...(key === undefined ? {} : { key }) }
}

/** As Go prints it: arrays and maps without quotes. */
function goText(value: unknown): string {
  if (value === null || value === undefined) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`
  if (typeof value !== 'object') return String(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `map[${entries.map(([k, v]) => `${k}:${goText(v)}`).join(' ')}]`
}

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined

/**
 * Docker's `--format`, the part of Go's templates that scripts use: paths, `json` and `index` of a map; `\t` and `\n` are
 * a tab and a line. `json` alone is the whole value. A path that leads nowhere is refused, as a typing error would be.
 */
export function formatter(text: string): (value: unknown) => string {
  if (text === 'json') return (value) => JSON.stringify(value)
  const pieces: Piece[] = []
  let end = 0
  for (const found of text.matchAll(ACTION)) {
    pieces.push(unescaped(text.slice(end, found.index)), action(text, found[1]!))
    end = found.index + found[0].length
  }
  const rest = text.slice(end)
  if (rest.includes('{{')) throw bad(text, '"{{" is not closed')
  pieces.push(unescaped(rest))

  return (whole) => {
    const show = (piece: Piece): string => {
      if (typeof piece === 'string') return piece
      const value = piece.path.reduce(member, whole)
      if (value === undefined)
        throw bad(text, `there is no ".${piece.path.join('.')}"; --format json shows all there is`)
      if (piece.key !== undefined) return goText(member(value, piece.key) ?? '')
      return piece.json ? JSON.stringify(value) : goText(value)
    }
    return pieces.map(show).join('')
  }
}

/** CreatedAt → CREATED AT. */
const headingOf = (words: string): string => {
  const [, , path = ''] = WORDS.exec(words) ?? []
  return path
    .slice(path.lastIndexOf('.') + 1)
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toUpperCase()
}

/** A line for each value; after Docker's word `table` with headings, in columns where TEXT has tabs. */
export function listFormatter(text: string): (values: readonly unknown[]) => string {
  const layout = /^table\s+(.+)$/s.exec(text)?.[1]
  const show = formatter(layout ?? text)
  if (layout === undefined) return (values) => values.map((value) => `${show(value)}\n`).join('')
  const headings = unescaped(layout.replace(ACTION, (_, words: string) => headingOf(words))).split('\t')
  return (values) =>
    table(
      headings,
      values.map((value) => show(value).split('\t')),
    )
}
