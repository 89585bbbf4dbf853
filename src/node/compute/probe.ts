import type { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import { codeOf, reasonOf, ZosError } from '#codec'
import { http, sleep } from '#sys'
import type { Agent } from '#vm'
import type { HealthCheck } from '#wire'
import { judge, type ProbeResult, pauseOf } from './health.ts'
import type { WorkloadSpec } from './spec.ts'
import { save, type Workload } from './workload.ts'

/** Bytes of a probe's output that are kept: Docker's figure. */
const OUTPUT = 4096

type Answer = Pick<ProbeResult, 'ExitCode' | 'Output'>

/** Checks a workload that runs again and again, until its line is another one. */
export function watchHealth(workload: Workload): void {
  const check = workload.spec.health
  workload.probing?.abort()
  if (!check) return
  const probing = new AbortController()
  workload.probing = probing
  const agent = workload.agent!
  const startedAgo = () => Date.now() - Date.parse(workload.status.startedAt ?? new Date().toISOString())
  const goOn = async () => {
    for (;;) {
      await sleep(pauseOf(workload.health, check, startedAgo()), probing.signal)
      if (workload.status.state !== 'running') continue
      const begun = new Date().toISOString()
      const answer = await probe(agent, workload.spec, check)
      // what happened to it meanwhile is no word on its health
      if (probing.signal.aborted || workload.status.state !== 'running') continue
      const result = { Start: begun, End: new Date().toISOString(), ...answer }
      const { status } = workload.health
      workload.health = judge(workload.health, check, result, startedAgo())
      if (workload.health.status === status) continue
      await save(workload, { health: workload.health.status })
      workload.at.log(`${workload.spec.name}: ${workload.health.status}`)
    }
  }
  goOn().catch((error: unknown) => {
    if (!probing.signal.aborted) workload.at.log(`check ${workload.spec.name}: ${reasonOf(error)}`)
  })
}

/** One look at a workload through AGENT; never throws. */
export async function probe(agent: Agent, spec: WorkloadSpec, { probe, timeout }: HealthCheck): Promise<Answer> {
  const late = AbortSignal.timeout(timeout)
  try {
    if ('argv' in probe) return await execProbe(agent, spec, probe.argv, late)
    if ('tcp' in probe) return await tcpProbe(agent, probe.tcp, late)
    return await httpProbe(agent, probe.http, late)
  } catch (error) {
    if (late.aborted) return { ExitCode: -1, Output: `Health check exceeded timeout (${timeout / 1000}s)` }
    // Docker's code for a program that cannot be run is the one the program would have left
    const code = error instanceof ZosError ? error.details.exitCode : undefined
    return { ExitCode: typeof code === 'number' ? code : -1, Output: reasonOf(error).slice(0, OUTPUT) }
  }
}

/** PROMISE, or the reason of LATE once that is aborted. */
const orLate = <T>(promise: Promise<T>, late: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    promise.then(resolve, reject)
    const giveUp = () => reject(late.reason)
    if (late.aborted) giveUp()
    else late.addEventListener('abort', giveUp, { once: true })
  })

/** The end of the last check in a guest: one that came too late may still have to begin there before it can be killed. */
const underWay = new WeakMap<Agent, Promise<void>>()

async function execProbe(agent: Agent, spec: WorkloadSpec, argv: string[], late: AbortSignal): Promise<Answer> {
  const { env, cwd, user, groupAdd } = spec
  // in a guest that is slow or hangs they would pile up
  await orLate(underWay.get(agent) ?? Promise.resolve(), late)
  const begun = agent.exec({ argv, env, cwd, user, tty: null, stdin: false, ...(groupAdd ? { groupAdd } : {}) })
  const over = () => {}
  underWay.set(agent, begun.then((session) => session.exit).then(over, over))
  const kill = () => void begun.then((session) => session.signal('KILL', { group: true })).catch(() => {})
  late.addEventListener('abort', kill)
  let [output, size] = [[] as Buffer[], 0]
  const take = (piece: Buffer) => {
    if (size < OUTPUT) output.push(piece.subarray(0, OUTPUT - size))
    size += piece.length
  }
  try {
    const session = await orLate(begun, late)
    session.stdout.on('data', take)
    session.stderr.on('data', take)
    // its end may be known before the last it wrote has been handed on
    const all = Promise.all([session.exit, finished(session.stdout), finished(session.stderr)])
    const [exit] = await orLate(all, late)
    return { ExitCode: exit.code, Output: Buffer.concat(output).toString() }
  } finally {
    late.removeEventListener('abort', kill)
    output = []
  }
}

async function tcpProbe(agent: Agent, port: number, late: AbortSignal): Promise<Answer> {
  const line = await agent.dial(port, { signal: late })
  line.on('error', () => {}).destroy()
  return { ExitCode: 0, Output: '' }
}

async function httpProbe(agent: Agent, where: string, late: AbortSignal): Promise<Answer> {
  const [, port, path] = /^:(\d+)(\/.*)$/.exec(where) ?? []
  const line = await agent.dial(Number(port), { signal: late })
  try {
    const status = await statusOf(line, { port: port!, path: path!, late })
    const good = status >= 200 && status < 400
    return { ExitCode: good ? 0 : 1, Output: `HTTP status ${status}` }
  } finally {
    line.on('error', () => {}).destroy()
  }
}

const statusOf = (line: Duplex, ask: { port: string; path: string; late: AbortSignal }): Promise<number> =>
  new Promise((resolve, reject) => {
    const headers = { host: `127.0.0.1:${ask.port}`, connection: 'close', 'user-agent': 'zos-health' }
    const options = { path: ask.path, headers, signal: ask.late, createConnection: () => line }
    const req = http().request(options, (res) => resolve(res.statusCode ?? 0))
    req.on('error', (error) => reject(codeOf(error) === 'ABORT_ERR' ? ask.late.reason : error))
    req.end()
  })
