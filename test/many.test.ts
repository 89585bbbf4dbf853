import assert from 'node:assert/strict'
import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { sha256 } from '#codec'
import { hashSparse } from '../src/vm/template-folder.ts'
import { busyboxTree, filesBelow, startNode, until } from './harness.ts'

const skip = process.env.ZOS_NIGHTLY !== '1' && 'too long for a commit: ZOS_NIGHTLY=1'
const node = startNode()
after(() => node[Symbol.dispose]())

const COUNT = 100
const run = `/run/zos-${sha256(Buffer.from(node.home)).toString('hex').slice(0, 12)}`

type Status = { pid: number; storage: { pid: number } }
const status = () => node.json<Status>(['status', '--json'])

/** Processes of this node by kind, its sockets, mounts and files, and what daemon and storage plane hold open. */
function held() {
  const { pid, storage } = status()
  const commands = readdirSync('/proc')
    .filter((p) => /^\d+$/.test(p))
    .map((p) => {
      try {
        return readFileSync(`/proc/${p}/cmdline`, 'latin1')
      } catch {
        return '' // it ended in between
      }
    })
  const machines = commands.filter((c) => c.includes('qemu-system') && c.includes(`${run}/`)).length
  const files = readdirSync(run, { recursive: true, encoding: 'utf8' })
  return {
    machines,
    mounts: readFileSync('/proc/self/mounts', 'utf8').split(node.home).length,
    sockets: files.length,
    workloads: readdirSync(join(node.home, 'workloads')).length,
    descriptors: [pid, storage.pid].map((p) => readdirSync(`/proc/${p}/fd`).length),
  }
}

/** What the files are that machines are cloned from. */
async function templates(): Promise<Record<string, string>> {
  const dir = join(node.home, 'templates')
  const files = readdirSync(dir).flatMap((name) => filesBelow(realpathSync(join(dir, name))))
  return Object.fromEntries(await Promise.all(files.map(async (file) => [file, await hashSparse(file)])))
}

/** As HELD says once the pool has its machines again and nothing changes for some seconds. */
async function settled() {
  let before = ''
  let since = Date.now()
  return until('nothing to change any more', 120, () => {
    const now = held()
    if (JSON.stringify(now) !== before) since = Date.now()
    before = JSON.stringify(now)
    return Date.now() - since > 4000 ? now : undefined
  })
}

test(`${COUNT} workloads removed at once leave no process, mount, socket, file or descriptor, and their template as it was`, {
  skip,
  timeout: 1_800_000,
}, async () => {
  node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'])
  const start = (count: number) => {
    const names = Array.from({ length: count }, (_, n) => `w${n}`)
    const flags = ['--memory', '32m']
    for (const name of names)
      node.ok(['run', '-d', '--name', name, ...flags, 'box', 'sleep', '100000'], { timeout: 300 })
    assert.equal(node.json<unknown[]>(['ps', '--json']).length, count)
    return names
  }
  // some before, so that what the first workloads make for all is there, machines that wait for the next one included
  node.ok(['rm', '-f', ...start(5)])
  const before = await settled()
  const made = await templates()
  assert.ok(Object.keys(made).some((file) => file.endsWith('/ram')))
  const names = start(COUNT)
  const begun = performance.now()
  node.ok(['rm', '-f', ...names], { timeout: 300 })
  console.log(`${COUNT} workloads removed in ${Math.round(performance.now() - begun)} ms`)
  assert.deepEqual(node.json(['ps', '-a', '--json']), [])
  assert.deepEqual(await settled(), before)
  const now = await templates()
  for (const [file, hash] of Object.entries(made)) assert.equal(now[file], hash, `${file} after ${COUNT} clones`)
})

test('down ends all of it within 40 s while the storage plane stands still and a workload starts', {
  skip,
  timeout: 300_000,
}, async () => {
  node.ok(['run', '-d', '--name', 'runs', 'box', 'sleep', '1000'])
  const { storage } = status()
  process.kill(storage.pid, 'SIGSTOP')
  const starting = node.zosLater(['run', '-d', '--name', 'starts', 'box', 'sleep', '1000'])
  await new Promise((r) => setTimeout(r, 1000))
  const { ms } = node.ok(['down'], { timeout: 100 })
  assert.ok(ms < 40_000, `${ms} ms`)
  assert.notEqual((await starting).code, 0)
  assert.throws(() => process.kill(storage.pid, 0), { code: 'ESRCH' })
  assert.throws(() => readdirSync(run), { code: 'ENOENT' })
})
