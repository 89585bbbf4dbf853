import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ZosError } from '#codec'
import type { Call, Routes } from '#sys'
import type { HealthStatus, RunRequest } from '#wire'
import { reportOf } from '../daemon/stats.ts'
import type { StoragePlane } from '../daemon/storage-client.ts'
import { grant } from './lease.ts'
import type { Compute } from './open.ts'
import { start } from './start.ts'
import { stop } from './stop.ts'
import { dial, view } from './workload.ts'

/** What the provision plane is told of a workload. */
export type Running = {
  name: string
  digest: string
  state: 'created' | 'running' | 'paused' | 'exited'
  exitCode: number | null
  reason: string
  restarts: number
  startedAt: string | null
  finishedAt: string | null
  health: HealthStatus | null
  /** Stopped by a call, not by itself. */
  byHand: boolean
}

export type Wanted = { digest: string; request: RunRequest }

/** A node's compute plane, to its provision plane and to whoever owns its sockets. All calls may be repeated. */
export function routes({ engine, volumes, host }: Compute, storage: StoragePlane): Routes {
  const byName = (name: string) => engine.list().find((w) => w.spec.name === name)
  const find = (call: Call) => engine.find(call.params.name ?? '')
  return {
    calls: {
      'GET /ping': () => ({ pid: process.pid, accel: host.accel }),
      'GET /workloads': (): Running[] =>
        engine.list().map((w) => {
          const { state, exitCode, reason, restarts, startedAt, finishedAt, health } = view(w)
          const { name, digest } = w.spec
          const times = { startedAt, finishedAt }
          return { name, digest, state, exitCode, reason, restarts, ...times, health, byHand: w.status.byHand }
        }),
      'PUT /workloads/:name': async ({ params, body }) => {
        const { digest, request } = body as Wanted
        if (byName(params.name!)) return
        await engine.create({ ...request, name: params.name! }, { digest, config: await storage.image(digest) })
      },
      'GET /workloads/:name/report': (c) => reportOf(find(c), storage),
      /** With a lease before it starts, and again to make it longer. */
      'PUT /workloads/:name/lease': (c) => grant(find(c), (c.body as { until: number }).until),
      'POST /workloads/:name/start': (c) => start(find(c), () => {}),
      'POST /workloads/:name/stop': (c) => stop(find(c)),
      'DELETE /workloads/:name': async ({ params }) => {
        if (byName(params.name!)) await engine.remove(params.name!, { force: true, volumes: true })
      },
      /** Before the workload that is made with it: by that one its slot is known. */
      'DELETE /volumes/:name': async ({ params }) => {
        if (volumes.list().some((v) => v.name === params.name)) await volumes.remove(params.name!, { named: true })
      },
      'GET /volumes': () => volumes.list(),
    },
    upgrades: {
      /** To a port of the workload of slot :slot, whichever version runs: nothing on the node listens for it. */
      'POST /slots/:slot/dial': async ({ params, body }, open) => {
        const running = engine
          .list()
          .find((w) => w.spec.name.startsWith(`${params.slot}.`) && w.status.state === 'running')
        if (!running) throw new ZosError(`Reach slot "${params.slot}": it does not run here`, { code: 'not-running' })
        const guest: Duplex = await dial(running, (body as { port: number }).port)
        const client = open()
        guest.on('error', () => client.destroy())
        client.on('error', () => guest.destroy())
        await Promise.allSettled([pipeline(client, guest), pipeline(guest, client)])
      },
    },
  }
}
