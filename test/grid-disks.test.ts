// What a spec says of disks is what its workload has: the writable layer and each volume, enforced inside; and who it runs
// as, and where.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { callUnix } from '../src/sys/index.ts'
import { startGrid } from './grid.ts'

const grid = await startGrid(1)
after(() => grid[Symbol.dispose]())
const { z, j, second, spec, runs, refused, page } = grid

const MIB = 2 ** 20
/**
 * Who it runs as and where, MiB that DF says there are, bytes that a file took until nothing more went in, and what was
 * found on the volume.
 */
const SCRIPT = [
  'fill() { dd if=/dev/zero of=$1/fill bs=64k count=2400 2> /dev/null; stat -c %s $1/fill; rm $1/fill; }',
  'layer=$(fill /)',
  'if grep -q " /data " /proc/mounts; then volume=$(fill /data); test -e /data/kept || cat /proc/sys/kernel/random/uuid > /data/kept; fi',
  'echo $(id -u):$(id -g):$(pwd -P) $(df -Pm / | tail -1 | tr -s " " | cut -d" " -f4) $layer $volume $(cat /data/kept) > /dev/shm/index.html',
  'trap "exit 0" TERM; httpd -f -p 80 -h /dev/shm & wait',
].join('\n')
const lines = (more: string[], volumes: string) => [
  `entrypoint: ${JSON.stringify(['sh', '-c', SCRIPT])}`,
  ...more,
  `volumes: ${volumes}`,
]
const deploy = async (name: string, more: string[], volumes: string, version: number) => {
  z('deploy', spec(name, lines(more, volumes)), '--as', 'alice')
  second()
  await runs(name, version)
  const [who, room, layer, volume, kept] = (await page(`${name}/0`)).trim().split(' ')
  return { who, room: Number(room), layer: Number(layer), volume: Number(volume), kept }
}
const between = (what: string, bytes: number, least: number, most: number) =>
  assert.ok(bytes > least * MIB && bytes <= most * MIB, `${what} took ${bytes} bytes, not ${least} to ${most} MiB`)
const data = (size: string) => `[{ name: data, path: /data, size: ${size} }]`

test('the writable layer and a volume hold what the spec says, and an approved update makes the volume larger', async () => {
  const first = await deploy('web', ['disk: 64m'], data('32m'), 1)
  assert.equal(first.who, '0:0:/', 'as whom and where the image says, which is nothing')
  between('the writable layer', first.layer, 56, 64)
  between('the volume', first.volume, 16, 32)
  const next = await deploy('web', ['disk: 32m'], data('96m'), 2)
  between('the writable layer', next.layer, 24, 32)
  between('the larger volume', next.volume, 64, 96)
  assert.equal(next.kept, first.kept, 'what was on it is there')
  const [volume] = await callUnix<{ size: number }[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/volumes')
  assert.equal(volume!.size, 96 * MIB)
})

test('what would make a volume smaller is refused when it is proposed, with one line', () => {
  const smaller = spec('web', lines(['disk: 32m'], data('32m')))
  assert.match(
    refused('deploy', smaller, '--as', 'alice'),
    /update "web": volume "data" of slot 0 has 96 MiB and is to have 32: volumes do not shrink; leave its size/,
  )
  assert.match(refused('undo', 'web', '--as', 'alice'), /undo "web": volume "data" of slot 0 has 96 MiB/)
  assert.deepEqual(j<unknown[]>('proposals'), [])
})

test('a machine that waited with its disks given is limited as well: to what is said, else to 1 GiB; or is not taken', async () => {
  const small = await deploy('small', ['disk: 48m'], '[]', 1)
  between('the writable layer', small.layer, 40, 48)
  // who is not root fills nothing, and listens on port 80 all the same
  const said = await deploy('small', ['user: "1000:100"', 'workdir: /www'], '[]', 2)
  assert.equal(said.who, '1000:100:/www')
  assert.ok(said.room > 1000 && said.room <= 1024, `df says ${said.room} MiB`)
  const { capacity } = j<{ capacity: { ssd: number } }>('node', 'show', 'node1')
  if (capacity.ssd < 22_000) return
  const large = await deploy('small', ['disk: 20g'], '[]', 3)
  assert.ok(large.room > 19_000 && large.room <= 20_480, `df says ${large.room} MiB`)
})
