import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '#sys'
import { OutputLog, readOutput } from './output-log.ts'
import { requestOf } from './request.fixture.ts'
import { resolveSpec } from './spec.ts'
import { loadWorkloads, saveSpec } from './store.ts'
import { keep, openWorkload, type Surroundings, save } from './workload.ts'

const skip = process.getuid?.() !== 0 && 'mounting needs root'

/** A folder of 64 KiB on which LEFT bytes are free until `free()`. */
function fullDisk(left: number) {
  const dir = mkdtempSync(join(tmpdir(), 'zos-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', dir])
  return {
    dir,
    fill: () => writeFileSync(join(dir, 'ballast'), Buffer.alloc((64 << 10) - left)),
    free: () => rmSync(join(dir, 'ballast')),
    [Symbol.dispose]() {
      execFileSync('umount', ['-l', dir])
      rmSync(dir, { recursive: true })
    },
  }
}

test('output that no longer fits is refused whole, and fits where it ended once there is room', { skip }, () => {
  using disk = fullDisk(16 << 10)
  disk.fill()
  const path = join(disk.dir, 'output.log')
  const log = new OutputLog(path)
  const piece = (n: number) => Buffer.alloc(3000, `${n}`)
  let written = 0
  const append = () => {
    log.append(1, written * 3000, piece(written))
    written++
  }
  assert.throws(
    () => {
      for (;;) append()
    },
    { code: 'disk-full', message: /^Keep output in ".*output.log": this machine's disk is full; free space$/ },
  )
  assert.ok(written > 2)
  assert.throws(append, { code: 'disk-full' })
  disk.free()
  append()
  log.close()
  const text = Buffer.concat([...readOutput(path)].map((r) => r.bytes))
  assert.ok(text.equals(Buffer.concat(Array.from({ length: written }, (_, n) => piece(n)))))
  assert.equal(new OutputLog(path).end, written * 3000)
})

test('a status the disk has no room for is so at once, and on disk when there is; a start asks for both', {
  skip,
}, async () => {
  using disk = fullDisk(12 << 10)
  const said: string[] = []
  const at = { home: disk.dir, log: (line: string) => said.push(line) } as Partial<Surroundings> as Surroundings
  const image = { digest: '0'.repeat(64), config: {} }
  const spec = resolveSpec(requestOf(), image, { id: 'a1', name: 'full', createdAt: '2026-01-01' })
  const workload = openWorkload(at, spec)
  await saveSpec(disk.dir, spec)
  await save(workload, { reason: 'before' })
  disk.fill()
  writeFileSync(join(disk.dir, 'rest'), Buffer.alloc(4096))
  await assert.rejects(keep(workload, {}), {
    code: 'disk-full',
    message: /^Keep "full" in ".*a1": this machine's disk/,
  })
  await save(workload, { state: 'exited', reason: 'meanwhile' })
  await save(workload, { exitCode: 3 })
  const kept = () => loadWorkloads(disk.dir)[0]!.status
  assert.deepEqual([workload.status.reason, kept().reason, said.length], ['meanwhile', 'before', 1])
  disk.free()
  await until('it to be on disk', 10_000, () => kept().reason === 'meanwhile' && kept().exitCode === 3)
})
