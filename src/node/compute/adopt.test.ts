import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '#sys'
import type { RunRequest } from '#wire'
import { openCards } from './cards.ts'
import { Engine } from './engine.ts'
import type { Machine, Machines } from './parts.ts'
import { requestOf } from './request.fixture.ts'
import { resolveSpec } from './spec.ts'
import { kill, stop } from './stop.ts'
import { FRESH, loadWorkloads, saveSpec, saveStatus, type WorkloadStatus } from './store.ts'
import { Volumes } from './volumes.ts'
import { takenUp, view } from './workload.ts'

const RECORD = { its: 'record' }
const unused = () => assert.fail('nothing else is asked of the machines or the storage plane')

type Setting = { change?: Partial<RunRequest>; status: Partial<WorkloadStatus>; machines: Partial<Machines> }

/** A home with one workload "left" that a daemon was killed over. */
async function left({ change, status, machines }: Setting) {
  const home = mkdtempSync(join(tmpdir(), 'zos-adopt-'))
  const image = { digest: '0'.repeat(64), config: {} }
  const spec = resolveSpec(requestOf(change), image, { id: 'a1', name: 'left', createdAt: '2026-01-01' })
  await saveSpec(home, spec)
  await saveStatus(home, spec, { ...FRESH, ...status })
  const said: string[] = []
  const engine = new Engine({
    home,
    machines: { get: unused, adopt: unused, end: unused, refill: unused, pidOf: () => 7, ...machines },
    storage: {
      image: unused,
      bind: async () => ({ root: '', dataBlocks: 0, hashStart: 0 }),
      check: unused,
      ready: unused,
    },
    volumes: new Volumes(home),
    cards: openCards(home),
    log: (line) => said.push(line),
  })
  const begun = performance.now()
  await engine.recover()
  return {
    home,
    engine,
    said,
    took: performance.now() - begun,
    onDisk: () => loadWorkloads(home),
    [Symbol.dispose]: () => rmSync(home, { recursive: true }),
  }
}

/** One whose daemon was killed while it started, and how often its machine was ended. */
async function halfStarted(change: Partial<RunRequest>, machine: unknown = RECORD) {
  let ends = 0
  const end = async (record: unknown) => {
    assert.deepEqual(record, RECORD)
    ends++
  }
  using it = await left({ change, status: { machine }, machines: { end } })
  return { ends, views: it.engine.views(), onDisk: it.onDisk() }
}

test('a workload whose daemon was killed while it started: its machine ends, its status says why', async () => {
  const { ends, views, onDisk } = await halfStarted({})
  assert.equal(ends, 1)
  assert.deepEqual([views[0]!.state, views[0]!.exitCode], ['exited', 125])
  assert.match(views[0]!.reason, /daemon ended while it was being started/)
  assert.equal(onDisk[0]!.status.machine, null)
})

test('one that was to be removed after its end is gone with its machine', async () => {
  const { ends, views, onDisk } = await halfStarted({ remove: true })
  assert.deepEqual([ends, views, onDisk], [1, [], []])
  assert.deepEqual((await halfStarted({ remove: true }, null)).onDisk, [], 'nor one that had no machine yet')
  assert.equal((await halfStarted({}, null)).views[0]!.state, 'created')
})

const running = { state: 'running', reason: '', machine: RECORD, startedAt: new Date().toISOString() } as const
const never = new Promise<never>(() => {})

test('a QEMU that does not answer holds nobody up; what needs it is told where it hangs; it can be ended', async () => {
  const endings: [string, (it: Awaited<ReturnType<typeof left>>) => Promise<void>][] = [
    ['kill', ({ engine }) => kill(engine.find('left'))],
    ['stop', ({ engine }) => stop(engine.find('left'), 0.1)],
    ['rm -f', ({ engine }) => engine.remove('left', { force: true, volumes: false })],
  ]
  await Promise.all(
    endings.map(async ([what, act]) => {
      let ends = 0
      const end = async (record: unknown) => {
        assert.deepEqual(record, RECORD)
        ends++
      }
      const adopt: Machines['adopt'] = (_, { step }) => {
        step('its QEMU')
        return never
      }
      using it = await left({ status: running, machines: { adopt, end } })
      assert.ok(it.took < 10_000, `${what}: the start waited ${it.took} ms`)
      assert.deepEqual(it.said, ['1 machines do not answer yet'])
      const workload = it.engine.find('left')
      assert.deepEqual([view(workload).state, view(workload).pid], ['running', 7])
      // as old as the start waited, give or take the tick of a timer
      await until('it to be told', 10_000, () => view(workload).reason !== '')
      assert.match(view(workload).reason, /^not taken up for \d+ s since the daemon came up: its QEMU does not answer$/)
      await assert.rejects(takenUp(workload, 10), /its QEMU does not answer; try again, or end it with "zos kill left"/)
      await act(it)
      assert.equal(ends, 1, what)
      await takenUp(workload, 10)
      if (what !== 'rm -f') assert.equal(it.onDisk()[0]!.status.exitCode, 137)
      else assert.deepEqual(it.onDisk(), [])
    }),
  )
})

test('what always runs is tried again when it could not be started, until it is stopped', async () => {
  let tries = 0
  const get = async () => {
    tries++
    throw new Error('the hub is away')
  }
  const status = { state: 'exited', exitCode: 137, reason: 'the node went down' } as const
  using it = await left({ change: { restart: { name: 'always' } }, status, machines: { get } })
  it.engine.resume()
  const workload = it.engine.find('left')
  await until('a second try', 10_000, () => tries >= 2)
  await until('a third to be waited for', 10_000, () => view(workload).reason.endsWith('; starts again by its policy'))
  assert.deepEqual([view(workload).state, view(workload).exitCode], ['exited', 125])
  assert.match(view(workload).reason, /^the hub is away;/)
  await stop(workload)
  assert.equal(view(workload).reason, 'the hub is away')
  assert.equal(it.onDisk()[0]!.status.byHand, true, 'nor does the next daemon start it')
  // one whose start is under way as it is stopped
  workload.status.byHand = false
  it.engine.resume()
  await stop(workload)
  assert.deepEqual([workload.restartTimer, workload.status.byHand], [undefined, true])
})

test('an agent that stays silent is tried again; the end of its machine is noticed meanwhile', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-adopt-'))
  const hosts: Socket[] = []
  const agent = createServer((socket) => void hosts.push(socket.on('error', () => {})))
  await new Promise<void>((done) => agent.listen(join(home, 'agent'), done))
  const ended = Promise.withResolvers<string>()
  let tries = 0
  const machine: Partial<Machine> = {
    pid: 8,
    exportId: 'e',
    agentSocket: join(home, 'agent'),
    ended: ended.promise,
    onStall: () => {},
    destroy: async () => {},
  }
  const adopt = async () => {
    if (++tries < 3) throw new Error('no control socket')
    return machine as Machine
  }
  try {
    using it = await left({ status: running, machines: { adopt, end: unused } })
    const workload = it.engine.find('left')
    assert.equal(it.said[0], 'adopt left: its QEMU does not answer, trying on: no control socket')
    assert.equal(tries, 3)
    await until('a second hello, on a connection of its own', 30_000, () => hosts.length >= 2)
    await assert.rejects(takenUp(workload, 10), /the agent in its machine does not answer/)
    ended.resolve('killed from outside')
    // on disk too: nothing is written to its home any more when that is removed
    await until('its end to be noticed', 10_000, () => it.onDisk()[0]!.status.state === 'exited')
    assert.equal(view(workload).state, 'exited')
    assert.match(view(workload).reason, /its machine ended: killed from outside/)
    assert.equal(workload.adopting, undefined)
  } finally {
    for (const host of hosts) host.destroy()
    agent.close()
    rmSync(home, { recursive: true })
  }
})
