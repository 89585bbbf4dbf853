import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { sha256Hex } from '#codec'
import { until } from '#sys'
import { flusher } from './flush.ts'

const root = mkdtempSync(join(tmpdir(), 'zos-flush-'))
after(() => rmSync(root, { recursive: true, force: true }))

test('whoever flushes while another flush is under way waits for it: their objects may be among its own', async (t) => {
  const { PATH } = process.env
  t.after(() => {
    process.env.PATH = PATH
    writeFileSync(join(root, 'go'), '')
  })
  // stands for sync(1) on a slow disk
  writeFileSync(join(root, 'sync'), `#!/bin/sh\n: > ${root}/begun\nwhile [ ! -e ${root}/go ]; do sleep 0.05; done\n`)
  chmodSync(join(root, 'sync'), 0o755)
  process.env.PATH = `${root}:${PATH}`
  const pending = flusher({ dir: root, temporary: root })
  for (let n = 0; n < 100; n++) pending.add(sha256Hex(Buffer.from(`${n}`)))
  const order: string[] = []
  const first = pending.flush().then(() => order.push('first'))
  await until('sync to begin', 30_000, () => existsSync(join(root, 'begun')))
  const second = pending.flush().then(() => order.push('second'))
  await new Promise((done) => setTimeout(done, 100))
  assert.deepEqual(order, [])
  writeFileSync(join(root, 'go'), '')
  await Promise.all([first, second])
  assert.deepEqual(order, ['first', 'second'])
})
