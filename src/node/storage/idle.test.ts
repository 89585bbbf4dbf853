import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { usage } from '#cas'
import { sleep, until } from '#sys'
import { openLibrary, publish, verify } from '#zosfs'
import { startIdleWork } from './idle.ts'

test('what was published gets smaller while nothing is asked for, stops when something is, and not where there is load', async () => {
  const root = mkdtempSync(join(tmpdir(), 'zos-idle-'))
  try {
    mkdirSync(join(root, 'tree'))
    for (let n = 0; n < 20; n++) {
      const noise = randomBytes(3000).toString('base64')
      writeFileSync(join(root, 'tree', `f${n}`), `${noise}${noise.split('').toReversed().join('')}`.repeat(9))
    }
    await using library = openLibrary({ home: join(root, 'home') })
    const { digest } = await publish(library, `dir:${root}/tree`, 'x')
    const bytes = async () => (await usage(library.store.local)).bytes
    const before = await bytes()
    const lines: string[] = []
    const start = (load: () => number, work: () => number) =>
      startIdleWork(library, work, (line) => lines.push(line), { quiet: 50, look: 10, every: 3600_000, load })

    {
      using _loaded = start(
        () => 99,
        () => 0,
      )
      await sleep(300)
    }
    assert.equal(await bytes(), before)

    // something was read between any two looks, however late the looks come
    let [reads, busy] = [0, true]
    {
      using _idle = start(
        () => 0,
        () => (busy ? ++reads : reads),
      )
      await sleep(300)
      busy = false
      assert.equal(await bytes(), before, 'somebody reads')
      // it yields to everybody, so on a loaded machine it takes as long as it likes
      await until('a pass', 120_000, () => lines.length > 0)
    }
    assert.match(lines[0]!, /^recompressed \d+ objects, \d+ bytes to \d+$/)
    assert.ok((await bytes()) < before)
    assert.deepEqual((await verify(library.store, digest)).faults, [])
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})
