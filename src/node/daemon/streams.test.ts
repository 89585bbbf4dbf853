import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import test, { after } from 'node:test'
import { ZosError } from '#codec'
import { serveUnix } from '#sys'
import { Frame, open, readFrames, writeFrame } from '#wire'
import type { Engine } from '../compute/engine.ts'
import type { WorkloadSpec } from '../compute/spec.ts'
import { FRESH } from '../compute/store.ts'
import { announce, openWorkload, type Surroundings } from '../compute/workload.ts'
import { execStream, runStream } from './streams.ts'

const dir = mkdtempSync(join(tmpdir(), 'zos-streams-'))
after(() => rmSync(dir, { recursive: true }))

/** A workload that runs, and an engine that has no other; AGENT is its line. */
function running(agent: unknown) {
  const at = { home: dir, machines: { pidOf: () => null }, log: () => {} } as unknown as Surroundings
  const workload = openWorkload(at, { id: 'a1', name: 'web', env: [] } as unknown as WorkloadSpec, {
    ...FRESH,
    state: 'running',
  })
  workload.agent = agent as NonNullable<typeof workload.agent>
  const end = () => {
    workload.status = { ...workload.status, state: 'exited', exitCode: 137, reason: 'removed' }
    announce(workload)
  }
  return { end, engine: { create: async () => workload, find: () => workload } as unknown as Engine }
}

test('the input of a program ends when its command went before it was started', { timeout: 60_000 }, async (t) => {
  const stdin = new PassThrough()
  const { engine, end } = running({ stdin })
  const [begun, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const run = runStream(engine, async () => {
    begun.resolve()
    await gone.promise
    return { digest: '', config: {} }
  })
  const path = join(dir, 'run.sock')
  const server = await serveUnix(path, {
    upgrades: {
      'POST /run': (call, begin) =>
        run(call, () => {
          const stream = begin()
          stream.once('close', gone.resolve)
          return stream
        }),
    },
  })
  t.after(() => server.close())
  const socket = await open(path, '/run')
  writeFrame(socket, Frame.request, { image: 'web', tty: false, detach: false })
  await begun.promise
  socket.destroy()
  await once(stdin.resume(), 'end')
  end()
})

test('what ran in a machine that is gone was killed with it', { timeout: 60_000 }, async (t) => {
  const lost = Promise.withResolvers<never>()
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const { engine, end } = running({ exec: async () => ({ stdin, stdout, stderr, exit: lost.promise }) })
  const path = join(dir, 'exec.sock')
  const server = await serveUnix(path, { upgrades: { 'POST /exec': execStream(engine, 'web') } })
  t.after(() => server.close())
  const socket = await open(path, '/exec')
  const exit = new Promise((resolve) => {
    readFrames(socket, (type, payload) => {
      if (type === Frame.started) {
        lost.reject(new ZosError('Talk to the agent: closed by the caller', { code: 'agent-gone' }))
        setImmediate(end)
      } else resolve([type, JSON.parse(payload.toString())])
      return undefined
    })
  })
  writeFrame(socket, Frame.request, { argv: ['sleep'], env: [], detach: false })
  assert.deepEqual(await exit, [Frame.exit, { code: 137 }])
  await once(socket, 'close')
})
