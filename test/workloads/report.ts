import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../harness.ts'

export type Row = { workload: string; shown: string; held: boolean; seconds: number }

/** docs/workloads.md: what ran in the last nightly, with the commit it ran on. */
export function writeReport(rows: readonly Row[]): void {
  const commit = String(spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT }).stdout).trim()
  const lines = rows.map(
    (r) => `| ${r.workload} | ${r.shown} | ${r.held ? 'held' : 'FAILED'} | ${r.seconds.toFixed(1)} |`,
  )
  const text = `# Workloads it is tried on

Written by \`ZOS_NIGHTLY=1 tools/node.sh --test test/workloads/real.test.ts\` on commit ${commit}. Images are made of Debian's packages
(\`test/workloads/recipes.ts\`). Seconds include publishing and starting, under software emulation on two shared cores.

| workload | what was shown | | s |
| --- | --- | --- | --- |
${lines.join('\n')}
`
  writeFileSync(join(ROOT, 'docs/workloads.md'), text)
}
