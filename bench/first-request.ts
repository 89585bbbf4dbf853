import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../test/harness.ts'
import { cpuSecondsOf } from './peer.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 21
const BAR_MS = 60

/** Milliseconds that Node itself takes, to start and end with nothing to do. */
async function bare(): Promise<number> {
  const begun = performance.now()
  await once(spawn(process.execPath, ['-e', ''], { stdio: 'ignore' }), 'exit')
  return performance.now() - begun
}

/** RUNS times of ACT, and the CPU milliseconds of what it started, each. */
async function measured(act: () => Promise<number>): Promise<{ ms: number[]; cpu: string }> {
  const ownCpu = () => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6
  const childrenCpu = () => cpuSecondsOf([process.pid]) - ownCpu()
  const before = childrenCpu()
  const ms: number[] = []
  for (let i = 0; i < RUNS; i++) ms.push(await act())
  return { ms, cpu: (((childrenCpu() - before) * 1000) / RUNS).toFixed(0) }
}

export default {
  name: 'first-request',
  claim: 'command to its first request to the daemon: `run --rm IMAGE true`',
  async run() {
    const dir = mkdtempSync(join(tmpdir(), 'zos-first-request-'))
    const api = join(dir, 'api.sock')
    const server = createServer()
    try {
      await new Promise<void>((done) => server.listen(api, done))
      const env = { ...process.env, ZOS_HOME: join(dir, 'home'), ZOS_API: api }
      const firstRequest = async (): Promise<number> => {
        const begun = performance.now()
        const child = spawn(join(ROOT, 'zos'), ['run', '--rm', 'web', 'true'], { stdio: 'ignore', env })
        const ended = once(child, 'exit')
        const [socket] = (await once(server, 'connection')) as [Socket]
        await once(socket, 'data')
        const took = performance.now() - begun
        socket.destroy()
        await ended
        return took
      }
      // compiled code is kept from the first run on
      for (let i = 0; i < 3; i++) await firstRequest()
      const [times, nodes] = [await measured(firstRequest), await measured(bare)]
      const ours = median(times.ms)
      return {
        ours,
        peer: BAR_MS,
        peerName: 'the bar',
        unit: 'ms',
        better: 'lower',
        must: 1,
        notes: {
          'fastest, ms': Math.min(...times.ms).toFixed(0),
          'slowest, ms': Math.max(...times.ms).toFixed(0),
          'CPU ms, whole command': times.cpu,
          'Node with nothing to do, start to end, ms': median(nodes.ms).toFixed(0),
          'its CPU ms': nodes.cpu,
        },
      }
    } finally {
      server.close()
      rmSync(dir, { recursive: true })
    }
  },
} satisfies Benchmark
