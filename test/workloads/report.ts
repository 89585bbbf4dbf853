import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../harness.ts'

export type Row = { workload: string; shown: string; held: boolean; seconds: number }

const FILE = join(ROOT, 'docs/workloads.md')

const HEAD = `# Workloads it is tried on

Written by \`ZOS_NIGHTLY=1 tools/node.sh --test test/workloads/*.test.ts\`; a run of some of them (\`--test-name-pattern\`) replaces
their rows. Images are made of Debian's packages (\`test/workloads/recipes.ts\`), odd ones by \`test/workloads/trees.ts\`. Seconds include publishing and starting, under software
emulation on two shared cores.

| workload | what was shown | | s | commit |
| --- | --- | --- | --- | --- |
`

/** Puts what ran into docs/workloads.md, each row with the commit it ran on, in place of its older row. */
export function writeReport(rows: readonly Row[]): void {
  const commit = String(spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT }).stdout).trim()
  const keyOf = (line: string) => line.split(' | ').slice(0, 2).join(' | ')
  const before = existsSync(FILE)
    ? readFileSync(FILE, 'utf8')
        .split('\n')
        .slice(HEAD.split('\n').length - 1)
    : []
  const lines = new Map(before.filter((line) => line !== '').map((line) => [keyOf(line), line]))
  for (const { workload, shown, held, seconds } of rows) {
    const line = `| ${workload} | ${shown} | ${held ? 'held' : 'FAILED'} | ${seconds.toFixed(1)} | ${commit} |`
    lines.set(keyOf(line), line)
  }
  writeFileSync(FILE, `${HEAD}${[...lines.values()].join('\n')}\n`)
}
