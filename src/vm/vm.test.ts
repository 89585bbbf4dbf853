import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { connectAgent } from './agent/index.ts'
import { awaitAgent } from './await-agent.ts'
import { adoptMachine, killStrays, spawnMachine } from './clone.ts'
import { clockRate } from './guest-clock.ts'
import { ensureInitramfs } from './initramfs.ts'
import { ensureKernel } from './kernel.ts'
import { openVmHost } from './open-host.ts'
import { createPool } from './pool.ts'
import { PLACEHOLDER } from './spawn.ts'
import { ensureTemplate, findTemplate, sweepTemplates } from './template.ts'
import { hashSparse } from './template-folder.ts'
import { makeUpperTemplate, writeUpper } from './upper.ts'
import { createVolume, giveVolume } from './volume.ts'

const cacheDir = join(import.meta.dirname, '../../.cache')
const vmClass = { vcpus: 1, memoryMiB: 160 }

/** One template and everything that is asked of its clones: a cold boot costs seconds, so there is only one. */
test('a template is made once and its clones answer, apart from each other and from the host', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vm-'))
  const kernel = await ensureKernel({ cacheDir })
  const initramfs = await ensureInitramfs({ cacheDir, modulesRoot: kernel.modulesRoot })
  let boots = 0
  const host = await openVmHost({
    home: join(dir, 'home'),
    runDir: join(dir, 'run'),
    cacheDir,
    kernel,
    initramfs,
    accel: 'tcg',
    awaitAgent: (socket, signal) => {
      boots++
      return awaitAgent(socket, signal)
    },
  })
  // a guest that takes a wrong word for it has a clock of four times the speed, and becomes no template
  host.tscKhz = Math.round(host.tscKhz! / 4)
  t.after(async () => {
    killStrays(host)
    await host[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })
  const makers = await Promise.all([ensureTemplate(host, vmClass), ensureTemplate(host, vmClass)])
  assert.equal(makers[0], makers[1], 'concurrent makers are one')
  assert.equal(boots, 2)
  const template = makers[0]
  assert.deepEqual(readdirSync(host.templatesDir), [template.key])
  await sweepTemplates(host)
  assert.ok(await findTemplate(host, vmClass), 'a sweep spares what is current')

  await t.test('clones with disks answer; killing them leaves nothing', async () => {
    const upper = join(dir, 'upper')
    const volume = join(dir, 'first-volume')
    await writeUpper(await makeUpperTemplate(dir), upper)
    assert.ok(statSync(upper).blocks * 512 < 1 << 20, 'a writable layer takes next to nothing')
    await createVolume(volume, 64 << 20)
    for (const id of ['a', 'b']) {
      await using machine = await spawnMachine(host, template, {
        id,
        root: PLACEHOLDER,
        upper: { kind: 'file', path: upper, durable: false },
        volumes: [{ kind: 'file', path: volume, durable: true }],
      })
      await using agent = await connectAgent(machine.agentSocket, { fresh: true })
      assert.equal(agent.state.phase, 'idle')
      const { least, most } = await clockRate(agent)
      assert.ok(least < 1.01 && most > 0.99, `its clock goes ${least} to ${most} times as fast as ours`)
    }
    assert.deepEqual(readdirSync(host.vmDir), [])
  })

  await t.test('a clone is shut in, outlives its daemon and is adopted', async () => {
    const first = await spawnMachine(
      host,
      template,
      { id: 'c', root: PLACEHOLDER, upper: PLACEHOLDER },
      { paused: true },
    )
    const { record } = first
    const status = readFileSync(`/proc/${record.pid}/status`, 'utf8')
    assert.match(status, /^Seccomp:\t2$/m)
    assert.match(status, /^NoNewPrivs:\t1$/m)
    assert.match(status, /^THP_enabled:\t0$/m, 'idle tables grow to whole huge pages')
    if (process.getuid?.() === 0) {
      assert.match(status, new RegExp(`^Uid:\t${record.uid}\t${record.uid}\t${record.uid}\t`, 'm'))
      assert.match(status, new RegExp(`^Groups:\t${record.uid} *$`, 'm'))
      assert.match(status, /^CapEff:\t0+$/m)
      assert.notEqual(readlinkSync(`/proc/${record.pid}/ns/net`), readlinkSync('/proc/self/ns/net'))
    }
    await first.release()
    const second = await adoptMachine(host, record)
    assert.ok(second)
    await second.resume()
    {
      await using agent = await connectAgent(second.agentSocket)
      assert.equal(agent.state.phase, 'idle')
      await agent.powerOff(0)
    }
    assert.equal((await second.exited).cause, 'power-off')
    assert.deepEqual(readdirSync(host.vmDir), [])
  })

  await t.test('a pool keeps clones ready that answer at once', async () => {
    let n = 0
    await using pool = createPool({
      nameOf: () => 'one',
      create: () => spawnMachine(host, template, { id: `p${n++}`, root: PLACEHOLDER, upper: PLACEHOLDER }),
      discard: (machine) => machine.kill(),
      usable: () => true,
      warm: [vmClass],
      most: 1,
    })
    pool.refill()
    await pool.settled()
    const machine = pool.claim(vmClass)
    assert.ok(machine)
    await using agent = await connectAgent(machine.agentSocket, { fresh: true })
    assert.equal(agent.state.phase, 'idle')
    // a volume is given to it while it runs, though it may open nothing itself; it stays where a daemon finds it
    const volume = join(dir, 'volume')
    await createVolume(volume, 64 << 20)
    await giveVolume(machine, 'vol1', volume)
    const nodes =
      await machine.qmp.ask<{ 'node-name': string; image: { 'virtual-size': number } }[]>('query-named-block-nodes')
    assert.equal(nodes.find((n) => n['node-name'] === 'vol1')?.image['virtual-size'], 64 << 20)
    const fds = `/proc/${machine.record.pid}/fd`
    assert.ok(readdirSync(fds).some((fd) => readlinkSync(join(fds, fd)) === volume))
    await assert.rejects(giveVolume(machine, 'vol1', volume), { code: 'qemu-refused' })
    await assert.rejects(giveVolume(machine, 'vol2', join(dir, 'none')), { code: 'ENOENT' })
    await machine.kill()
  })

  await t.test('the template is as it was made', async () => {
    assert.equal(await hashSparse(template.ram), template.ramSha256)
    assert.equal(await hashSparse(template.state), template.stateSha256)
  })
})
