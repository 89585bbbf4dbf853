import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { programFlags } from '#sys'

test('"zos grid down" ends the "up" that is at work: nothing starts behind it', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-up-lock-'))
  process.env.ZOS_HOME = home
  const { endUp } = await import('./up_lock.ts')
  const lockAndStay = `await (await import(${JSON.stringify(import.meta.resolve('./up_lock.ts'))})).lockUp()
    console.log('locked'); setInterval(() => {}, 1000)`
  const up = spawn(process.execPath, [...programFlags(), '--input-type=module', '-e', lockAndStay], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await once(up.stdout, 'data')
    const ended = once(up, 'exit')
    const release = await endUp()
    assert.deepEqual(await ended, [null, 'SIGTERM'])
    release()
    // and with none at work there is nothing to wait for
    ;(await endUp())()
  } finally {
    up.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
})
