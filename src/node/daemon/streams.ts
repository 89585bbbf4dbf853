import type { Duplex } from 'node:stream'
import { codeOf } from '#codec'
import { within } from '#sys'
import type { Agent, ExecSession } from '#vm'
import { Frame, type RunRequest, writeFrame } from '#wire'
import type { Engine } from '../compute/engine.ts'
import { frameSink } from '../compute/sinks.ts'
import type { ImageConfig } from '../compute/spec.ts'
import { start } from '../compute/start.ts'
import { signal } from '../compute/stop.ts'
import { agentOf, attach, reach, type Workload, waitExit } from '../compute/workload.ts'
import { framed, type Session } from './framed.ts'

export type Resolve = (image: string) => Promise<{ digest: string; config: ImageConfig }>

/** A machine that ended is known to have within this, once its line is closed. Milliseconds. */
const SEEN_TO_END = 2000

/** THEN when the command goes, also when it went while something was being started for it. */
const whenGone = (stream: Duplex, then: () => void) => void (stream.closed ? then() : stream.once('close', then))

/** Passes what the command sends on to a process: input, signals, the size of its window. */
function feed(stream: Duplex, on: Session['on'], to: Pick<ExecSession, 'stdin' | 'signal' | 'resize'>): void {
  to.stdin.on('error', () => {})
  on((type, payload) => {
    if (type === Frame.stdin) {
      if (!to.stdin.write(Buffer.from(payload))) {
        stream.pause()
        to.stdin.once('drain', () => stream.resume())
      }
    } else if (type === Frame.stdinEnd) to.stdin.end()
    else if (type === Frame.signal)
      to.signal((JSON.parse(payload.toString()) as { signal: string }).signal).catch(() => {})
    else if (type === Frame.resize)
      to.resize(JSON.parse(payload.toString()) as { rows: number; columns: number }).catch(() => {})
  })
}

/** Stays with WORKLOAD until its program ends, if it has not yet; AGENT is its line, DETACH stops its output. */
async function stay(
  stream: Duplex,
  on: Session['on'],
  workload: Workload,
  { agent, detach }: { agent: Agent; detach: () => void },
): Promise<void> {
  feed(stream, on, {
    stdin: agent.stdin,
    signal: (name) => signal(workload, name),
    resize: (window) => agentOf(workload).resize(window),
  })
  const status = await waitExit(workload)
  detach()
  // an end that was not the program's own doing (its machine died, say) shows in no exit code: say it
  if (!/^(exit code|killed by) /.test(status.reason)) notes(stream)(status.reason)
  writeFrame(stream, Frame.exit, { code: status.exitCode })
}

const notes = (stream: Duplex) => (line: string) => void (stream.destroyed || writeFrame(stream, Frame.note, line))

/** `zos run`: creates, starts and, unless detached, stays attached until the end. */
export const runStream = (engine: Engine, resolve: Resolve) =>
  framed(async (stream, { request: asked, on }) => {
    const request = asked as RunRequest
    const image = await resolve(request.image)
    const workload = await engine.create(request, image)
    const detach = request.detach ? () => {} : attach(workload, frameSink(stream))
    try {
      await start(workload, notes(stream))
    } catch (error) {
      // as with Docker, a named workload that could not start stays for a look; one nobody can find again does not
      if (request.remove || request.name === undefined) await engine.forget(workload)
      throw error
    }
    writeFrame(stream, Frame.started, { id: workload.spec.id })
    if (request.detach) return void writeFrame(stream, Frame.exit, { code: 0 })
    const agent = agentOf(workload)
    // a terminal may be attached to again
    if (!request.tty) whenGone(stream, () => agent.stdin.end())
    await stay(stream, on, workload, { agent, detach })
    if (request.remove) await engine.forget(workload)
  })

/** `zos attach` and `zos start -a`: stays with a workload that runs, or that it starts. */
export const attachStream = (engine: Engine, ref: string, options: { start: boolean }) =>
  framed(async (stream, { on }) => {
    const workload = engine.find(ref)
    const { spec } = workload
    const running = options.start ? undefined : await reach(workload)
    const detach = attach(workload, frameSink(stream))
    whenGone(stream, detach)
    if (options.start) await start(workload, notes(stream))
    const agent = running ?? agentOf(workload)
    writeFrame(stream, Frame.started, { id: spec.id })
    await stay(stream, on, workload, { agent, detach })
  })

type ExecRequest = {
  argv: string[]
  env: string[]
  cwd?: string
  user?: string
  stdin: boolean
  detach: boolean
  tty: { rows: number; columns: number } | null
}

/** `zos exec`. */
export const execStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request: asked, on }) => {
    const request = asked as ExecRequest
    const workload = engine.find(ref)
    const { spec } = workload
    const running = await (await reach(workload)).exec({
      argv: request.argv,
      env: [...spec.env, ...request.env],
      cwd: request.cwd ?? spec.cwd,
      user: request.user || spec.user,
      tty: request.tty,
      stdin: request.stdin,
      ...(spec.groupAdd ? { groupAdd: spec.groupAdd } : {}),
    })
    writeFrame(stream, Frame.started, { id: spec.id })
    if (request.detach) {
      running.stdout.resume()
      running.stderr.resume()
      return void writeFrame(stream, Frame.exit, { code: 0 })
    }
    feed(stream, on, running)
    whenGone(stream, () => running.stdin.end())
    const sink = frameSink(stream)
    const carry = async (from: AsyncIterable<Buffer>, channel: 'stdout' | 'stderr') => {
      for await (const data of from) await sink(channel, data)
    }
    try {
      const [exit] = await Promise.all([running.exit, carry(running.stdout, 'stdout'), carry(running.stderr, 'stderr')])
      writeFrame(stream, Frame.exit, { code: exit.code })
    } catch (error) {
      if (codeOf(error) !== 'agent-gone' || !(await within(SEEN_TO_END, waitExit(workload)))) throw error
      // its machine ended with the workload: that killed it, too
      writeFrame(stream, Frame.exit, { code: 137 })
    }
  })
