import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { sleep, until } from '#sys'
import { ask, COLD_BOOT } from './ask.fixture.ts'
import { connectAgent } from './client.ts'
import { fuzzGuest, leaveMidway } from './fuzz-guest.fixture.ts'
import { bootVm, makeRoot, missing, processOf, type Root, startSpec, type TestVm } from './vm.fixture.ts'

/** Frames of a mad host. */
const FRAMES = Number(process.env.ZOS_FUZZ ?? 1500)

describe('the agent of a confined workload, and a host gone mad', {
  skip: missing() ?? false,
  timeout: process.env.ZOS_FUZZ ? 7_200_000 : 280_000,
}, () => {
  let dir: string
  let root: Root
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'zos-agent-'))
    root = await makeRoot(dir)
  })
  after(() => rm(dir, { recursive: true, force: true }))

  test('a read-only workload with a reaper, and its end by memory', async () => {
    await using vm: TestVm = await bootVm(join(dir, 'b'), root)
    let agent = await connectAgent(vm.socket, { fresh: true, timeout: COLD_BOOT })
    await agent.start(
      // longer than all that is done to it at its full size
      startSpec(root, processOf('sleep', '1000000'), {
        readOnly: true,
        confined: true,
        init: true,
        memoryLimit: 48 << 20,
        tmpfs: [{ target: '/tmp', options: 'exec' }],
        volumes: [{ serial: 'vol0', target: '/new/volume', readOnly: false, uid: '1000' }],
      }),
    )
    assert.match((await ask(agent, ['sh', '-c', 'echo x > /x'])).err, /Read-only/)
    const closed =
      'grep CapEff /proc/self/status; mount -o remount,exec /tmp || echo 1 > /proc/sys/kernel/panic || echo no'
    assert.match((await ask(agent, ['sh', '-c', closed])).text, /CapEff:\s+00000000a80425fb\nno\n$/)
    const copies = 'for d in /tmp /dev /dev/shm /new/volume; do cp /bin/busybox $d/b && $d/b true; echo $?; done'
    assert.equal((await ask(agent, ['sh', '-c', copies])).text, '126\n126\n126\n126\n')
    assert.match((await ask(agent, ['stat', '-c', '%u', '/new/volume'])).text, /^1000$/m)
    // an orphan ends below the reaper, which buries it
    await ask(agent, ['sh', '-c', '(sleep 0.1 &) ; exit 0'])
    await until('the orphan to be buried', 30_000, async () => {
      return !(await agent.processes()).some((r) => r.state === 'Z' || r.command === 'sleep 0.1')
    })
    // a process asked for by a host that was gone when it could run finds its input ended
    await agent[Symbol.asyncDispose]()
    await leaveMidway(vm.socket, ['cat', '-', '/dev/null'])
    agent = await connectAgent(vm.socket)
    await until('the process nobody wants to end', 30_000, async () => {
      return !(await agent.processes()).some((r) => r.command.startsWith('cat - '))
    })
    // a host that has gone mad is survived, by PID 1 and by the workload
    await agent[Symbol.asyncDispose]()
    await fuzzGuest(vm.socket, FRAMES)
    agent = await connectAgent(vm.socket)
    assert.equal(agent.state.phase, 'running', JSON.stringify(await Promise.race([agent.exited, sleep(100)])))
    assert.equal((await ask(agent, ['echo', 'well'])).text, 'well\n')
    // its heap does not shrink again; what counts is that it does not grow with the frames
    const { agentRss } = await agent.stats()
    assert.ok(agentRss < 4 << 20, `the agent has ${agentRss} bytes resident`)
    const hog = await agent.exec(processOf('dd', 'if=/dev/zero', 'of=/dev/null', 'bs=128M'))
    assert.equal((await hog.exit).signal, 'KILL')
    assert.deepEqual(await agent.exited, { code: 137, signal: 'KILL', oom: true, reason: 'out of memory' })
    await agent.powerOff(0)
    await vm.gone
  })
})
