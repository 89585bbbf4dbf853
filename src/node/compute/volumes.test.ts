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
    // a slot's volume of the longest name a spec may give it
    const long = `${'d'.repeat(16)}.127.${'v'.repeat(63)}.4294967295`
    await volumes.acquire('slot', [{ source: long, readOnly: false, size: 16 * MIB }])
    volumes.release('slot')
    await volumes.remove(long)
    writeFileSync(marker, '')
    await volumes.remove('data')
    assert.throws(() => statSync(marker), { code: 'ENOENT' })
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})

test('no volume is larger than what a machine takes its disk for: it could not be mounted, and does not shrink', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-volumes-'))
  try {
    const volumes = new Volumes(home)
    const refused = {
      code: 'bad-volume-size',
      message: /volume "data": \d+ bytes are more than .* 1099511627776 \(1t\)$/,
    }
    const ask = (size: number) => volumes.acquire('w', [{ source: 'data', readOnly: false, size }])
    await assert.rejects(ask(2 ** 40 + 4096), refused)
    assert.deepEqual(volumes.list(), [])
    await ask(16 * MIB)
    volumes.release('w')
    await assert.rejects(volumes.grow('data', 2 ** 40 + 4096), refused)
    assert.equal(volumes.list()[0]!.size, 16 * MIB)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})

test('what a workload uses grows under it, one growth at a time; one that it did not end is ended when it is next mounted', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-volumes-'))
  try {
    const volumes = new Volumes(home)
    await volumes.acquire('w', [{ source: 'data', readOnly: false, size: 16 * MIB }])
    const said: unknown[] = []
    let cutOff = false
    volumes.users = {
      ...volumes.users,
      async growInUse(workload, name, path, size) {
        said.push([workload, name, size / MIB])
        truncateSync(path, size)
        await new Promise((r) => setTimeout(r, 20))
        if (cutOff) throw new Error('its machine has ended')
        said.push('grown')
      },
    }
    await Promise.all([volumes.grow('data', 32 * MIB), volumes.grow('data', 48 * MIB)])
    assert.deepEqual(said, [['w', 'data', 32], 'grown', ['w', 'data', 48], 'grown'])
    await assert.rejects(volumes.grow('data', 32 * MIB), { code: 'volume-shrink' })
    cutOff = true
    await assert.rejects(volumes.grow('data', 64 * MIB), /its machine has ended/)
    volumes.release('w')
    await volumes.acquire('v', [{ source: 'data', readOnly: false }])
    const head = (await run('dumpe2fs', ['-h', join(home, 'volumes/data.ext4')])).stdout.toString()
    assert.equal(Number(/^Block count:\s+(\d+)$/m.exec(head)![1]) * 4096, 64 * MIB)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})

test('what a workload that is ending holds is waited for, what another one holds is refused', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-volumes-'))
  try {
    const volumes = new Volumes(home)
    await volumes.acquire('w', [{ source: 'data', readOnly: false, size: 16 * MIB }])
    const inUse = { code: 'volume-in-use' }
    const other = () => volumes.acquire('v', [{ source: 'data', readOnly: false }])
    for (const refused of [() => volumes.remove('data'), other]) await assert.rejects(refused, inUse)
    assert.deepEqual(await volumes.prune(true), [], 'nor is it pruned')
    volumes.users = { ...volumes.users, isEnding: (id) => id === 'w' }
    const grown = [volumes.grow('data', 32 * MIB), volumes.grow('data', 48 * MIB)]
    const one = volumes.acquire('a', [{ source: 'data', readOnly: false }])
    const two = volumes.acquire('b', [{ source: 'data', readOnly: false }])
    await new Promise((r) => setTimeout(r, 50))
    assert.equal(volumes.list()[0]!.size, 16 * MIB, 'not while it is written to')
    volumes.release('w')
    await Promise.all(grown)
    assert.equal(volumes.list()[0]!.size, 48 * MIB)
    await one
    await assert.rejects(two, inUse, 'two who waited do not both get it')
    volumes.release('a')
    assert.deepEqual(
      (await volumes.prune(true)).map((v) => v.name),
      ['data'],
    )
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
