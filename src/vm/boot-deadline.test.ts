import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import test from 'node:test'
import { sleep } from '#sys'
import { cpuDeadline } from './boot-deadline.ts'
import { statFields } from './identity.ts'

const run = (script: string) => spawn('/bin/sh', ['-c', script], { stdio: 'ignore' })
const SPIN = 'while :; do :; done'

test('a process that hangs is given up by its CPU or by doing nothing; one that waits for a CPU is waited for', {
  timeout: 120_000,
}, async () => {
  const [spins, sleeps, waits] = [run(SPIN), run('exec sleep 100'), run(SPIN)]
  // as good as waiting for others: it is let go on for a moment now and then
  waits.kill('SIGSTOP')
  const turns = setInterval(() => {
    waits.kill('SIGCONT')
    setTimeout(() => waits.kill('SIGSTOP'), 100)
  }, 400)
  const ticks = (pid: number) => Number(statFields(pid)![11]) + Number(statFields(pid)![12])
  try {
    using spinning = cpuDeadline(spins.pid!, 1000)
    using idle = cpuDeadline(sleeps.pid!, 1000)
    using waiting = cpuDeadline(waits.pid!, 2500)
    await Promise.all([sleep(3000), ...[spinning, idle].map(({ signal }) => signal.aborted || once(signal, 'abort'))])
    assert.match(String(spinning.signal.reason), /did not answer within 1 s of CPU$/)
    assert.match(String(idle.signal.reason), /within 1 s in which it did nothing$/)
    assert.ok(ticks(spins.pid!) >= 100)
    assert.equal(waiting.signal.aborted, false, `${ticks(waits.pid!)} ticks`)
  } finally {
    clearInterval(turns)
    for (const child of [spins, sleeps, waits]) child.kill('SIGKILL')
  }
})
