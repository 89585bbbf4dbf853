import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import { confine, tryRun } from '#sys'

test('a confined thread moves packets and seals them, and has no other way to C, files, programs or the network', async () => {
  const worker = new Worker(new URL('./ffi-confined.fixture.ts', import.meta.url), {
    execArgv: ['--permission', '--allow-fs-read=*', '--allow-ffi', '--no-warnings'],
  })
  const { may, scopes, does } = await new Promise<Record<string, Record<string, unknown>>>((resolve, reject) => {
    worker.once('message', resolve).once('error', reject)
  })
  const denied = 'ERR_ACCESS_DENIED'
  assert.deepEqual(may, {
    library: denied,
    address: denied,
    peek: denied,
    memory: denied,
    namespace: 'confined',
    forget: 'confined',
    listen: 'confined',
    tun: 'tun-failed',
    file: denied,
    program: denied,
    thread: denied,
  })
  assert.deepEqual(scopes, [])
  assert.deepEqual(does, { packets: true, sealed: true, polled: true, reused: true, dialled: true })
})

test('a thread without a permission model cannot be confined, and says so', () => {
  assert.throws(confine, { code: 'no-permission-model' })
})

test('a thread may end while its calls of C are being compiled', async () => {
  // soon enough that most of these threads end in the middle of it: without `untilCompiled` the process died each time
  const soon = ['--invocation-count-for-maglev=20', '--invocation-count-for-turbofan=100']
  const fixture = join(import.meta.dirname, 'ffi-ending.fixture.ts')
  const { code, stderr } = await tryRun(process.execPath, [...soon, '--no-warnings', fixture, '60'], {
    timeout: 60_000,
  })
  assert.deepEqual([code, stderr], [0, ''])
})
