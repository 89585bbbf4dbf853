import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { programFlags, until } from '#sys'
import { processesWith } from '#vm'
import { BACKINGS, backingDown, backingUp } from './backing.ts'
import { type GridFacts, gridFacts, localGrid } from './local.ts'
import { PROGRAMS } from './services.ts'

test('a file that describes no grid is told from one that is not there, and from a damaged one', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-facts-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const file = join(dir, 'grid.json')
  assert.throws(() => gridFacts(file), /grid.json" is not there; "zos grid up" makes a local one$/)
  for (const text of ['null', '7', '[]', '{}', '{"format":"zos-grid/0"}']) {
    await writeFile(file, text)
    assert.throws(() => gridFacts(file), /grid.json" does not describe one: it has no "format": "zos-grid\/1"; /, text)
  }
  await writeFile(file, '{')
  assert.throws(() => gridFacts(file), /^ZosError: Read ".*grid.json": it is damaged/)
  await writeFile(file, '{"format":"zos-grid/1"}')
  assert.deepEqual(gridFacts(file), { format: 'zos-grid/1' })
  assert.throws(() => gridFacts(join(dir, 'other'), { format: 'zos-grid/1' } as GridFacts), /other" is not there/)
})

test('a "grid up" that was cut off is gone on with, its chain taken for ours; one that is another is refused', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'zos-cut-'))
  const before = process.env.ZOS_HOME
  process.env.ZOS_HOME = home
  t.after(async () => {
    for (const name of BACKINGS) await backingDown(name)
    if (before === undefined) delete process.env.ZOS_HOME
    else process.env.ZOS_HOME = before
    await rm(home, { recursive: true, force: true })
  })
  const up = spawn(process.execPath, [...programFlags(), PROGRAMS.zos, 'grid', 'up'], { stdio: 'ignore' })
  const chain = () => processesWith([PROGRAMS.chain, '--dir', join(home, 'grid/chain'), ''].join('\0'))
  await until('the chain to start', 60_000, () => chain()[0], 5)
  up.kill('SIGKILL')
  const { chainPort } = localGrid()!
  assert.equal((await backingUp('chain', chainPort)).pid, chain()[0]!.identity.pid)
  assert.equal(chain().length, 1)

  // a chain that lost its journal is a new one: nothing of this grid is on it
  const facts = { format: 'zos-grid/1', chainId: 26426, genesis: `0x${'00'.repeat(32)}`, rpc: [], hub: [], peers: [] }
  await writeFile(join(home, 'grid/grid.json'), JSON.stringify(facts))
  const again = spawn(process.execPath, [...programFlags(), PROGRAMS.zos, 'grid', 'up'])
  const [said, [code]] = await Promise.all([text(again.stderr), once(again, 'close')])
  assert.equal(code, 1, said)
  assert.match(said, /zos: Start the grid: the chain in ".*chain" is another than its nodes are of: .* begin anew\n$/)
})
