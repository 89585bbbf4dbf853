// npm run bench: lists; npm run bench -- NAME… [--json]: runs; npm run bench -- all: all, as the table of docs/benchmarks.md
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { Benchmark, Figures } from './row.ts'

const files = globSync('*.ts', { cwd: import.meta.dirname }).filter(
  (f) => !['index.ts', 'row.ts', 'peer.ts', 'roots.ts'].includes(f),
)
const names = files.map((f) => f.replace(/\.ts$/, '')).sort()
const asked = process.argv.slice(2).filter((a) => !a.startsWith('-'))
const json = process.argv.includes('--json')
const refuse = (why: string): never => {
  console.error(`bench: ${why}`)
  process.exit(2)
}
const unknown = process.argv.slice(2).find((a) => a.startsWith('-') && a !== '--json')
if (unknown !== undefined) refuse(`"${unknown}" is not understood; there is --json`)
const nameless = asked.find((name) => name !== 'all' && !names.includes(name))
if (nameless !== undefined) refuse(`no benchmark "${nameless}"; there are: ${names.join(' ')}`)

const said = (file: string, args: string[]) =>
  String(spawnSync(file, args).stdout ?? '')
    .split('\n')[0]!
    .trim()

function versions(): Record<string, string> {
  return {
    node: process.version,
    qemu: said('qemu-system-x86_64', ['--version']),
    podman: said('podman', ['--version']),
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
  }
}

const round = (n: number) => (Math.abs(n) >= 100 ? Math.round(n) : Number(n.toPrecision(3)))

/** RATIO: ours ÷ peer. */
type Row = Pick<Benchmark, 'name' | 'claim'> & Figures & { ratio: number }

async function measured({ name, claim, run }: Benchmark): Promise<Row> {
  const figures = await run()
  return { name, claim, ...figures, ratio: figures.ours / figures.peer }
}

function line(row: Row): string {
  const held = row.better === 'lower' ? row.ratio <= row.must : row.ratio >= row.must
  return `| ${row.name}: ${row.claim} | ${round(row.ours)} ${row.unit} | ${row.peerName}: ${round(row.peer)} | ${row.ratio.toFixed(2)} | ${row.better === 'lower' ? '≤' : '≥'} ${row.must} ${held ? 'held' : 'NOT held'} |`
}

if (asked.length === 0) {
  for (const name of names) {
    const bench = (await import(join(import.meta.dirname, `${name}.ts`))) as { default: Benchmark }
    console.log(`${name.padEnd(18)} ${bench.default.claim}`)
  }
} else {
  const chosen = asked.includes('all') ? names : asked
  const commit = said('git', ['rev-parse', '--short', 'HEAD'])
  if (!json) console.log('| claim | ours | peer, same run | ratio | bar |\n| --- | --- | --- | --- | --- |')
  for (const name of chosen) {
    const bench = (await import(join(import.meta.dirname, `${name}.ts`))) as { default: Benchmark }
    const lacking = bench.default.lacks?.()
    if (lacking) {
      console.log(json ? JSON.stringify({ name, skipped: lacking }) : `<!-- ${name}: skipped: ${lacking} -->`)
      continue
    }
    const row = await measured(bench.default)
    if (json) console.log(JSON.stringify({ ...row, commit, versions: versions() }))
    else {
      console.log(line(row))
      for (const [what, value] of Object.entries(row.notes)) console.log(`<!-- ${name}: ${what}: ${value} -->`)
    }
  }
}
