import type { Duplex } from 'node:stream'
import type { Call, Routes } from '#sys'
import type { RunRequest } from '#wire'
import type { Engine } from '../compute/engine.ts'
import type { MachinePool } from '../compute/machines.ts'
import { newId } from '../compute/names.ts'
import { pause, unpause } from '../compute/pause.ts'
import { start } from '../compute/start.ts'
import { kill, signal, stop } from '../compute/stop.ts'
import type { Volumes } from '../compute/volumes.ts'
import { reach, view, waitExit } from '../compute/workload.ts'
import { copyInStream, copyOutStream } from './copy.ts'
import type { Images } from './images.ts'
import { inspectImage, inspectVolume, inspectWorkload } from './inspect.ts'
import { logsStream } from './logs.ts'
import { reportOf, statsOf, viewsOf } from './stats.ts'
import type { StoragePlane } from './storage-client.ts'
import { attachStream, execStream, runStream } from './streams.ts'

export type Parts = {
  engine: Engine
  machines: Pick<MachinePool, 'letGoOfImages'>
  images: Images
  storage: StoragePlane
  volumes: Volumes
  /** Ends everything; answers before the process goes. */
  down: () => Promise<void>
}

/** Upgrade handlers are made per call: they carry the workload's name. */
const stream =
  (make: (call: Call) => (call: unknown, open: () => Duplex) => Promise<void>) => (call: Call, open: () => Duplex) =>
    make(call)(call, open)

const ref = (call: Call): string => call.params.ref ?? ''
const field = <T>(call: Call, name: string): T | undefined => (call.body as Record<string, T> | undefined)?.[name]

/** What commands ask of the daemon. */
export function routes(parts: Parts): Routes {
  const { engine, machines, images, storage, volumes } = parts
  return {
    calls: {
      'GET /workloads': () => viewsOf(engine, storage),
      'POST /workloads': async (c) => {
        const request = c.body as RunRequest
        const { spec } = await engine.create(request, await images.resolve(request.image))
        return { id: spec.id }
      },
      'GET /workloads/:ref': (c) => view(engine.find(ref(c))),
      'GET /workloads/:ref/inspect': (c) => inspectWorkload(engine.find(ref(c))),
      'GET /workloads/:ref/processes': async (c) => (await reach(engine.find(ref(c)))).processes(),
      'POST /workloads/:ref/wait': async (c) => {
        const workload = engine.find(ref(c))
        // as with Docker: what was never started does not run, and is not waited for
        const { exitCode } = workload.status.state === 'created' ? { exitCode: 0 } : await waitExit(workload)
        return { exitCode }
      },
      'POST /workloads/:ref/rename': (c) => engine.rename(ref(c), field<string>(c, 'name') ?? ''),
      'GET /workloads/:ref/report': (c) => reportOf(engine.find(ref(c)), storage),
      'POST /workloads/:ref/start': (c) => start(engine.find(ref(c)), () => {}),
      'POST /workloads/:ref/stop': (c) => stop(engine.find(ref(c)), field<number>(c, 'timeout')),
      'POST /workloads/:ref/kill': (c) => {
        const name = field<string>(c, 'signal') ?? 'KILL'
        const workload = engine.find(ref(c))
        return /^(SIG)?KILL$|^9$/.test(name) ? kill(workload) : signal(workload, name)
      },
      'POST /workloads/:ref/restart': async (c) => {
        const workload = engine.find(ref(c))
        await stop(workload, field<number>(c, 'timeout'))
        await start(workload, () => {})
      },
      'POST /workloads/:ref/pause': (c) => pause(engine.find(ref(c))),
      'POST /workloads/:ref/unpause': (c) => unpause(engine.find(ref(c))),
      'POST /workloads/:ref/stat': async (c) => {
        const agent = await reach(engine.find(ref(c)))
        return (await agent.stat(field<string>(c, 'path') ?? '/', { follow: true })) ?? null
      },
      'DELETE /workloads/:ref': (c) =>
        engine.remove(ref(c), { force: c.query.get('force') === 'true', volumes: c.query.get('volumes') === 'true' }),
      'GET /stats': (c) => statsOf(engine, (c.query.get('names') ?? '').split(',').filter(Boolean)),
      'GET /images': () => images.list(),
      'DELETE /images/:ref': (c) => images.remove(ref(c)),
      'GET /images/:ref/inspect': (c) => inspectImage(images, ref(c)),
      'GET /volumes': () => volumes.list(),
      'POST /volumes': async (c) => {
        const name = field<string>(c, 'name') ?? newId()
        await volumes.create(name, field<number>(c, 'size'))
        return { name }
      },
      'GET /volumes/:ref/inspect': (c) => inspectVolume(volumes, ref(c)),
      'DELETE /volumes/:ref': (c) => volumes.remove(ref(c)),
      'POST /volumes/prune': (c) => volumes.prune(field<boolean>(c, 'all') ?? false),
      'POST /volumes/:ref/grow': (c) => volumes.grow(ref(c), field<number>(c, 'size') ?? 0),
      'GET /store': () => storage.call('GET', '/stat'),
      // what a workload was made from stays, whatever became of its tag
      'POST /store/gc': async (c) => {
        await machines.letGoOfImages()
        return storage.call('POST', '/gc', { ...(c.body as object | undefined), keep: engine.digests() }, 1_800_000)
      },
      'POST /store/scrub': () => storage.call('POST', '/scrub', undefined, 1_800_000),
      'POST /store/recompress': () => storage.call('POST', '/recompress', undefined, 7_200_000),
      'POST /down': () => parts.down().then(() => ({ pid: process.pid })),
    },
    upgrades: {
      'POST /run': stream(() => runStream(engine, (image) => images.resolve(image))),
      'POST /workloads/:ref/attach': stream((c) => attachStream(engine, ref(c), { start: false })),
      'POST /workloads/:ref/run': stream((c) => attachStream(engine, ref(c), { start: true })),
      'POST /workloads/:ref/exec': stream((c) => execStream(engine, ref(c))),
      'POST /workloads/:ref/logs': stream((c) => logsStream(engine, ref(c))),
      'POST /workloads/:ref/copy-out': stream((c) => copyOutStream(engine, ref(c))),
      'POST /workloads/:ref/copy-in': stream((c) => copyInStream(engine, ref(c))),
    },
  }
}
