import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { until } from '#sys'
import { adoptMachine, coldBoot, killStrays } from './clone.ts'
import type { VmHost } from './host.ts'
import { identify, isRunning, killProcess, processesWith } from './identity.ts'
import { openVmHost } from './open-host.ts'
import { PLACEHOLDER, spawnQemu } from './spawn.ts'

/** A host whose QEMU is the shell or Node script BODY. */
async function hostWith(interpreter: string, body: string): Promise<VmHost> {
  const dir = mkdtempSync(join(tmpdir(), 'vm-'))
  const path = join(dir, 'qemu-system-fake')
  writeFileSync(path, `#!${interpreter}\n${body}`, { mode: 0o755 })
  const host = await openVmHost({
    home: dir,
    runDir: dir,
    cacheDir: dir,
    kernel: { vmlinux: '/k', modulesRoot: '/m', release: 'r', version: 'v', sha256: 's' },
    initramfs: { path: '/i', sha256: 's', modulesDisk: '/dev/null' },
    accel: 'tcg',
    awaitAgent: async () => {},
    qemu: { path, text: 'fake', version: [7, 2] },
  })
  return {
    ...host,
    async [Symbol.asyncDispose]() {
      killStrays(host)
      await host[Symbol.asyncDispose]()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

const spec = { id: 'a', class: { vcpus: 1, memoryMiB: 64 }, root: PLACEHOLDER, upper: PLACEHOLDER }

/** Speaks QMP on the socket it is told; dies on "die". */
const OBEDIENT = `
const { createServer } = require('node:net')
const path = /path=([^,]*qmp)/.exec(process.argv.join(' '))[1]
require('node:fs').writeFileSync(path.replace(/qmp$/, 'nic'), '')
createServer((s) => {
  s.on('error', () => {})
  s.write('{"QMP": {}}\\n')
  s.setEncoding('utf8').on('data', (text) => {
    for (const line of text.split('\\n').filter(Boolean)) {
      const { execute, id } = JSON.parse(line)
      if (execute === 'die') { console.error('out of luck'); process.exit(1) }
      if (execute === 'quit') process.exit(0)
      const value = execute === 'query-status' ? { status: 'running' } : execute === 'ringbuf-read' ? 'last words' : {}
      s.write(JSON.stringify({ return: value, id }) + '\\n')
      if (execute === 'off') s.write('{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\\n')
    }
  })
}).listen(path)
`

test('a QEMU that dies at once is reported in its own words and leaves nothing', async () => {
  await using host = await hostWith('/bin/sh', 'echo "no such accelerator" >&2; exit 1\n')
  await assert.rejects(coldBoot(host, spec), { code: 'qemu-failed', message: 'Start QEMU: no such accelerator' })
  assert.deepEqual(readdirSync(host.vmDir), [])
})

test('a QEMU that hangs is killed at its deadline', async () => {
  // what else it is asked before, as its version, it answers
  await using host = await hostWith(process.execPath, 'if (process.argv.length > 3) setTimeout(() => {}, 60_000)')
  // where the cores are so loaded that it was not seen to start by then, it has longer
  let seen = false
  for (let deadline = 300; !seen && deadline <= 30_000; deadline *= 10) {
    let over = false
    const begun = spawnQemu(host, spec, { start: 'cold', deadline }).finally(() => {
      over = true
    })
    const refused = assert.rejects(begun, { code: 'qemu-failed' })
    await until(
      'its end',
      60_000,
      () => {
        seen ||= processesWith(host.vmDir).length === 1
        return over
      },
      5,
    )
    await refused
  }
  assert.ok(seen, 'it ran')
  await until('its end', 20_000, () => processesWith(host.vmDir).length === 0)
  assert.deepEqual(readdirSync(host.vmDir), [])
})

test('an exit says why, with the last console lines; the folder goes', async () => {
  await using host = await hostWith(process.execPath, OBEDIENT)
  const off = await coldBoot(host, spec)
  await off.qmp.ask('off')
  assert.deepEqual(await off.exited, { cause: 'power-off', reason: 'the guest powered off', console: 'last words' })
  const died = await coldBoot(host, spec)
  await died.qmp.ask('die').catch(() => {})
  const report = await died.exited
  assert.equal(report.cause, 'qemu-died')
  assert.match(report.reason, /out of luck/)
  const killed = await coldBoot(host, spec)
  await killed.kill()
  assert.equal((await killed.exited).cause, 'killed')
  assert.deepEqual(readdirSync(host.vmDir), [])
})

test('a released VM runs on, is adopted by its record, and an ended one is not', async () => {
  await using host = await hostWith(process.execPath, OBEDIENT)
  const first = await coldBoot(host, spec)
  const record = JSON.parse(JSON.stringify(first.record)) as typeof first.record
  await first.release()
  assert.ok(isRunning(record))
  const second = await adoptMachine(host, record)
  assert.ok(second)
  await second.kill()
  assert.equal(await adoptMachine(host, record), undefined)
})

test('strays are found by the run folder; what is kept is spared', async () => {
  await using host = await hostWith(process.execPath, OBEDIENT)
  const kept = await coldBoot(host, spec)
  const stray = await coldBoot(host, { ...spec, id: 'b' })
  assert.equal(killStrays(host, [kept.record]), 1)
  await stray.exited
  assert.ok(isRunning(kept.record))
  await kept.kill()
})

test('a process id that went to another process is never killed', () => {
  const self = identify(process.pid)
  assert.ok(self)
  assert.ok(isRunning(self))
  const earlier = { pid: process.pid, startTime: self.startTime - 1 }
  assert.ok(!isRunning(earlier))
  killProcess(earlier)
})
