import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { PAGE, startGrid } from '../grid.ts'
import { dockerArchive, ROOT } from '../harness.ts'

const grid = await startGrid(1)
after(() => grid[Symbol.dispose]())
const { z, j, spec, status, runs, refused, node } = grid

test('one of three runs nothing, a stranger counts for nothing, two of three run it', async () => {
  z('key', 'new', 'mallory')
  const file = spec('web', ['env: { SECRET: s3cr3t }'])
  z('deploy', file, '--as', 'alice', '--plan')
  assert.deepEqual(j('proposals'), [], 'a plan changes nothing')
  z('deploy', file, '--as', 'alice')
  type Row = { id: string; deployment: string; kind: string; approvals: number; needs: number }
  const [proposal, ...more] = j<Row[]>('proposals')
  const { id } = proposal!
  assert.deepEqual([proposal, ...more], [{ id, deployment: 'web', kind: 'deploy', approvals: 1, needs: 2 }])
  // the name means another image from now on: what is signed is what it meant
  const tree = join(node.work, 'tree')
  writeFileSync(join(tree, 'www/index.html'), 'another page\n')
  node.ok(['publish', dockerArchive(join(node.work, 'another.tar'), tree, { Cmd: ['sh', '/bin/web'] }), 'web'])
  assert.match(refused('approve', proposal!.id, '--as', 'mallory'), /is not one of its members/)
  assert.match(refused('approve', proposal!.id, '--as', 'alice'), /approved it before/)
  assert.deepEqual(await status('web'), { name: 'web', version: 0, state: 'proposed', slots: [] })
  const words = z('approve', proposal!.id, '--as', 'bob')
  assert.match(words, /64 MiB/, 'what is signed is said')
  assert.doesNotMatch(words, /s3cr3t/)
  await runs('web', 1)
  assert.equal(await grid.page('web/0'), PAGE)
  assert.deepEqual(j('proposals'), [], 'only what is open')
  const { since, ...slot } = j<{ slots: { since: string }[] }>('status', 'web').slots[0]!
  const here = { node: 'node1', farm: 'farm1', country: 'BE' }
  assert.deepEqual(slot, { slot: 0, ...here, version: 1, state: 'running', reason: '' })
  assert.ok(Math.abs(Date.parse(since) - Date.now()) < 600_000)
  const [row] = grid.nodes()
  assert.deepEqual(Object.keys(row!.pids).sort(), ['compute', 'network', 'provision', 'storage'])
  const { pid, pids, ...named } = row!
  assert.deepEqual(named, { name: 'node1', state: 'up', farm: 'farm1', country: 'BE' })
  assert.equal(new Set([pid, ...Object.values(pids)]).size, 5, 'processes of their own')
})

test('the sealed spec is at the grid’s hub alone, and opens to nobody there', () => {
  const at = (dir: string) => readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile())
  const sealed = at(join(node.home, 'grid/hub/specs')).map((e) => e.name)
  assert.equal(sealed.length, 1)
  assert.ok(at(node.hub).length > 0)
  assert.deepEqual(
    at(node.hub).filter((e) => sealed.includes(e.name)),
    [],
    'the hub images come from has none',
  )
  for (const dir of ['grid/hub', 'grid/chain'].map((d) => join(node.home, d)))
    for (const e of at(dir)) {
      const bytes = readFileSync(join(e.parentPath, e.name))
      const text = bytes.toString('latin1').toLowerCase()
      assert.ok(!text.includes('s3cr3t') && !text.includes(Buffer.from('s3cr3t').toString('hex')), e.name)
    }
})

test('the audit trail shows it to anyone, with nothing but its file; a changed byte does not pass', () => {
  const file = join(node.work, 'log.json')
  writeFileSync(file, z('log', 'web', '--json'))
  const bare = { env: { ZOS_HOME: join(node.work, 'bare'), ZOS_GRID: '' } }
  assert.match(node.zos(['log', '--verify', file], bare).text, /every signature and link is good/)
  // neither network nor home, and from another folder: what is on the machine besides ./zos and the file is not looked at
  const alone = spawnSync(
    'unshare',
    ['-n', 'env', '-i', `PATH=${process.env.PATH}`, join(ROOT, 'zos'), 'log', '--verify', file],
    {
      cwd: '/',
      encoding: 'utf8',
    },
  )
  assert.deepEqual([alone.status, alone.stderr], [0, ''])
  assert.match(alone.stdout, /every signature and link is good/)
  const text = readFileSync(file, 'utf8')
  const at = text.lastIndexOf('0x') + 10
  writeFileSync(file, `${text.slice(0, at)}${text[at] === 'a' ? 'b' : 'a'}${text.slice(at + 1)}`)
  assert.notEqual(node.zos(['log', '--verify', file], bare).code, 0)
})

test('two groups race for the last of the disk: exactly one has it', async () => {
  const free = () => {
    const { capacity, used } = j<{ capacity: { ssd: number }; used: { ssd: number } }>('node', 'show', 'node1')
    return capacity.ssd - used.ssd
  }
  const before = free()
  const each = Math.floor(before / 2) + 1
  z('group', 'create', 'rivals', '--member', 'alice', '--member', 'bob', '--threshold', '2')
  const racers = [
    ['team', 'left'],
    ['rivals', 'right'],
  ] as const
  const proposals = racers.map(([group, name]) => {
    const file = spec(name, [`disk: ${each}m`, 'cpus: 0.5'])
    return j<{ id: string }>('deploy', file, '--group', group, '--as', 'alice').id
  })
  const codes = await Promise.all(
    proposals.map(
      (id) =>
        new Promise<number | null>((resolve) => {
          const env = { ...process.env, ZOS_HOME: node.home, ZOS_PASSPHRASE: 'a passphrase for tests' }
          const child = spawn(join(ROOT, 'zos'), ['approve', id, '--as', 'bob'], { stdio: 'ignore', env })
          child.on('close', resolve)
        }),
    ),
  )
  assert.deepEqual(codes.toSorted(), [0, 1])
  assert.equal(free(), before - each, 'what is booked is what one of them asked for')
})

test("a name is its group's own; without --group the only group that has it is meant, else it is asked which", async () => {
  assert.equal((await status('web')).state, 'running')
  assert.equal(j<{ state: string }>('status', 'web').state, 'running')
  const { id } = j<{ id: string }>(
    'deploy',
    spec('web', ['disk: 16m', 'cpus: 0.1']),
    '--group',
    'rivals',
    '--as',
    'alice',
  )
  assert.equal(j<{ version: number }>('status', 'web').version, 1, 'a proposal is not had yet')
  z('approve', id, '--as', 'bob')
  assert.match(refused('status', 'web'), /say with --group which of (team, rivals|rivals, team)/)
  assert.equal(j<{ version: number }>('status', 'web', '--group', 'rivals').version, 1)
})
