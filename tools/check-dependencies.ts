// Every direct dependency is pinned to an exact version and has its line in DEPENDENCIES.md; none is listed in vain.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(process.argv[2] ?? join(import.meta.dirname, '..'))
const pkg = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Record<string, string>>
const listed = readFileSync(join(root, 'DEPENDENCIES.md'), 'utf8')
const all = { ...pkg.dependencies, ...pkg.devDependencies, ...pkg.optionalDependencies }

const bad: string[] = []
for (const [name, version] of Object.entries(all)) {
  if (!/^\d+\.\d+\.\d+$/.test(version)) bad.push(`${name}: version "${version}" is not exact`)
  if (!listed.includes(`| \`${name}\` |`)) bad.push(`${name}: no line in DEPENDENCIES.md`)
}
for (const [, name] of listed.matchAll(/^\| `([^`]+)` \| npm/gm)) {
  if (!(name! in all)) bad.push(`${name}: listed in DEPENDENCIES.md, not in package.json`)
}
for (const line of bad) console.error(line)
console.log(`dependencies: ${Object.keys(all).length} direct, ${bad.length} faults`)
process.exitCode = bad.length ? 1 : 0
