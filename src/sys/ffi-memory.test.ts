import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import { confine, tryRun } from '#sys'

const denied = 'ERR_ACCESS_DENIED'

/** What the thread of FIXTURE says. */
function said(fixture: string): Promise<Record<string, Record<string, unknown>>> {
  const worker = new Worker(new URL(fixture, import.meta.url), {
    execArgv: ['--permission', '--allow-fs-read=*', '--allow-fs-write=*', '--allow-ffi', '--no-warnings'],
  })
  return new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject)
  })
}

test('a confined thread moves packets and seals them, and has no other way to C, files, programs or the network', async () => {
  const { may, scopes, does } = await said('./ffi-confined.fixture.ts')
  assert.deepEqual(may, {
    library: denied,
    address: denied,
    peek: denied,
    memory: denied,
    namespace: 'confined',
    trim: 'confined',
    listen: 'confined',
    tun: 'tun-failed',
    file: denied,
    program: denied,
    thread: denied,
  })
  assert.deepEqual(scopes, [])
  assert.deepEqual(does, { packets: true, sealed: true, polled: true, reused: true, dialled: true })
})

test('a thread that opens for others has no ffi either: it keeps taps, TUNs and trimming, until it is confined further', async () => {
  const { opening, confined } = await said('./ffi-opening.fixture.ts')
  const neither = { library: denied, address: denied, leave: 'confined', listen: 'confined', thread: denied }
  const bounded = { request: 'ffi-range', short: 'ffi-range', read: true }
  assert.deepEqual(opening, { ...neither, ...bounded, trim: 'yes', taps: true, file: 'yes', scopes: ['fs'] })
  assert.deepEqual(confined, { ...neither, ...bounded, trim: 'confined', taps: false, file: denied, scopes: [] })
})

test('a thread without a permission model cannot be confined, and says so', () => {
  assert.throws(confine, { code: 'no-permission-model' })
})

test('a thread may end while its calls of C are being compiled', async () => {
  // soon enough that most of these threads end in the middle of it: without `untilCompiled` the process died each time
  const soon = ['--invocation-count-for-maglev=20', '--invocation-count-for-turbofan=100']
  const fixture = join(import.meta.dirname, 'ffi-ending.fixture.ts')
  const { code, stderr } = await tryRun(process.execPath, [...soon, '--no-warnings', fixture, '60'], {
    timeout: 240_000,
  })
  assert.deepEqual([code, stderr], [0, ''])
})
