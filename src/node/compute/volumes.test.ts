import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { run } from '#sys'
import { Volumes } from './volumes.ts'

const MIB = 2 ** 20

test('a volume is made as large as is said, grows when more is said, never shrinks, and a growth cut off is ended', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-volumes-'))
  try {
    const volumes = new Volumes(home)
    const path = join(home, 'volumes/data.ext4')
    const marker = join(home, 'volumes/data.growing')
    const use = async (size?: number) => {
      await volumes.acquire('w', [{ source: 'data', readOnly: false, ...(size === undefined ? {} : { size }) }])
      volumes.release('w')
      const head = (await run('dumpe2fs', ['-h', path])).stdout.toString()
      const blocks = Number(/^Block count:\s+(\d+)$/m.exec(head)![1])
      return [statSync(path).size / MIB, Math.round((blocks * 4096) / MIB)]
    }
    assert.deepEqual(await use(16 * MIB), [16, 16])
    assert.deepEqual(await use(40 * MIB), [40, 40])
    assert.deepEqual(await use(16 * MIB), [40, 40])
    assert.deepEqual(await use(), [40, 40])
    // killed behind the file's growth
    truncateSync(path, 64 * MIB)
    writeFileSync(marker, '')
    assert.deepEqual(await use(40 * MIB), [64, 64])
    assert.throws(() => statSync(marker), { code: 'ENOENT' })
    assert.deepEqual(
      volumes.list().map((v) => [v.name, v.size]),
      [['data', 64 * MIB]],
    )
    writeFileSync(marker, '')
    volumes.remove('data')
    assert.throws(() => statSync(marker), { code: 'ENOENT' })
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
