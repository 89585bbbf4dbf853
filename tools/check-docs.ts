// Holds the pages (*.md) against the tree: links lead somewhere, source files they name are there, and a folder's README names its files.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { basename, dirname, join, posix, resolve } from 'node:path'

const root = resolve(process.argv[2] ?? join(import.meta.dirname, '..'))
const ignored = ['**/node_modules/**', '.cache/**', '.git/**']
const files = globSync('**/*.*', { cwd: root, exclude: ignored })
const pages = files.filter((file) => file.endsWith('.md'))

/** What a README need not name: tests and what only they use, the door (every domain has one), types of others' packages. */
const UNNAMED = /(\.test|\.fixture|\.d|^index)\.ts$/

const withoutCode = (text: string): string => text.replace(/^```.*?^```/gms, '')

/** The anchor that Markdown viewers give a heading. */
const anchorOf = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\- _]/gu, '')
    .replaceAll(' ', '-')

/** "a/{b,c}.ts" → "a/b.ts", "a/c.ts". */
function expanded(name: string): string[] {
  const [, before, list, after] = /^([^{]*)\{([^}]*)\}(.*)$/.exec(name) ?? []
  return list === undefined ? [name] : list.split(',').flatMap((part) => expanded(`${before}${part}${after}`))
}

/** Source files that TEXT names between backticks. */
const named = (text: string): string[] =>
  [...text.matchAll(/`([^`\s]*[^`\s.*]\.ts)`/g)].flatMap(([, name]) => expanded(name!)).filter((n) => !/[*<$]/.test(n))

function faultsOf(page: string): string[] {
  const text = withoutCode(readFileSync(join(root, page), 'utf8'))
  const faults: string[] = []
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target!)) continue
    const [path, anchor] = target!.split('#') as [string, string?]
    const to = path === '' ? page : posix.join(dirname(page), path)
    if (!existsSync(join(root, to))) faults.push(`${page}: the link to "${target}" leads nowhere`)
    else if (anchor && to.endsWith('.md')) {
      const headings = withoutCode(readFileSync(join(root, to), 'utf8')).matchAll(/^#+ (.*)$/gm)
      if (![...headings].some(([, heading]) => anchorOf(heading!) === anchor))
        faults.push(`${page}: the link to "${target}": ${to} has no such heading`)
    }
  }
  const names = named(text)
  for (const name of names)
    if (!files.some((file) => file === name || file.endsWith(`/${name}`)))
      faults.push(`${page}: names "${name}", which is not there`)
  if (basename(page) === 'README.md' && page !== 'README.md')
    for (const file of files.filter((f) => dirname(f) === dirname(page) && f.endsWith('.ts')))
      if (!UNNAMED.test(basename(file)) && !names.some((name) => basename(name) === basename(file)))
        faults.push(`${page}: does not name ${basename(file)}, which is beside it`)
  return faults
}

const bad = pages.flatMap(faultsOf)
for (const line of bad) console.error(line)
console.log(`docs: ${pages.length} pages, ${bad.length} faults`)
process.exitCode = bad.length ? 1 : 0
