// Refuses imports against the arrows of the architecture (a domain imports only the doors of the domains below it), and a domain
// without a README.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

const root = resolve(process.argv[2] ?? join(import.meta.dirname, '..'))

/** What each domain may import. Files of one domain import each other freely. */
const arrows: Record<string, readonly string[]> = {
  npm: [],
  codec: [],
  sys: ['codec'],
  wire: ['codec'],
  cas: ['codec', 'sys'],
  zosfs: ['zod', 'codec', 'sys', 'cas'],
  vm: ['codec', 'sys', 'cas', 'zosfs'],
  mycelium: ['codec', 'sys'],
  contract: ['npm', 'codec', 'sys'],
  node: ['npm', 'zod', 'codec', 'sys', 'wire', 'cas', 'zosfs', 'vm', 'mycelium', 'contract'],
  hub: ['npm', 'codec', 'sys', 'cas', 'zosfs', 'contract'],
  cli: ['codec', 'sys', 'wire', 'cas', 'zosfs', 'vm', 'mycelium', 'contract', 'keys', 'node', 'hub'],
}

const imports = /(?:from|import)\s*\(?\s*'([^']+)'/g
const importsHttp = /^import (?!type )[^']* from 'node:http'$/m

/** One line per forbidden import in FILE (relative to the root). */
function violations(file: string, text: string): string[] {
  const domain = file.split('/')[1]!
  const allowed = arrows[domain]
  if (!allowed) return [`${file}: domain "${domain}" has no entry in tools/check-boundaries.ts`]
  const bad: string[] = []
  for (const [, spec] of text.matchAll(imports)) {
    if (spec!.startsWith('#')) {
      const other = spec!.slice(1)
      if (other !== domain && !allowed.includes(other) && !file.endsWith('.test.ts'))
        bad.push(`${file}: ${domain} may not import #${other}`)
    } else if (spec!.startsWith('.')) {
      const target = relative(root, resolve(root, dirname(file), spec!))
      if (!target.startsWith(`src/${domain}/`)) bad.push(`${file}: "${spec}" leaves ${domain}: import the door "#…"`)
    } else if (spec === 'node:ffi' && !file.startsWith('src/sys/ffi'))
      bad.push(`${file}: node:ffi lives in src/sys/ffi*.ts only`)
  }
  if (importsHttp.test(text) && !file.endsWith('.test.ts'))
    bad.push(`${file}: node:http imported as a module takes 4 MB: take types from it, the rest from http() of #sys`)
  return bad
}

/** One line for each domain whose reader would find no README. */
const unread = (domains: readonly string[]): string[] =>
  domains
    .filter((domain) => !existsSync(join(root, 'src', domain, 'README.md')))
    .map((domain) => `src/${domain}: no README.md: purpose, invariants, file map`)

if (import.meta.main) {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'))
  const bad = files.flatMap((f) => violations(`src/${f}`, readFileSync(join(root, 'src', f), 'utf8')))
  bad.push(...unread([...new Set(files.map((f) => f.split('/')[0]!))]))
  for (const line of bad) console.error(line)
  console.log(`boundaries: ${files.length} files, ${bad.length} faults`)
  process.exitCode = bad.length ? 1 : 0
}
