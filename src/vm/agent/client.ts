import { codeOf, ZosError } from '#codec'
import type { Agent, ConnectOptions, ExecSession, Output } from './agent.ts'
import { openOutlet, openProcessChannel, writableOf } from './channel.ts'
import { askHelper, copyIn, copyOut } from './copy.ts'
import { dial } from './dial.ts'
import { type Line, openLine } from './line.ts'
import { decodeJson, encodeU64, Frame, getU32, getU64 } from './protocol.ts'
import type { ExitStatus, ProcessSpec } from './types.ts'

/** Answers that need no disk of the guest; the others may have to wait for a chunk. */
const QUICK = 30_000

/** Hands output on in order, one piece at a time, and the exit after the last. */
function openOutput(
  line: Line,
  grant: (bytes: number) => void,
  onOutput: ConnectOptions['onOutput'],
): Promise<ExitStatus> {
  const exited = Promise.withResolvers<ExitStatus>()
  exited.promise.catch(() => {})
  // at most what the guest's ring holds can wait here: it sends no more until that is acknowledged
  let busy: Promise<void> | undefined
  const hand = (output: Output) => {
    const next = () => onOutput?.(output)
    const done = busy ? busy.then(next) : next()
    if (!done) return
    const mine = Promise.resolve(done).catch((error) => exited.reject(error))
    busy = mine.then(() => {
      if (busy === mine) busy = undefined
    })
  }
  line.attach(
    0,
    (type, payload) => {
      if (type === Frame.output) {
        const channel = payload[7] === 2 ? 'stderr' : 'stdout'
        payload[7] = 0
        hand({ channel, offset: getU64(payload, 0), data: payload.subarray(8) })
      } else if (type === Frame.exited) {
        const status = decodeJson(payload) as ExitStatus
        if (busy) void busy.then(() => exited.resolve(status))
        else exited.resolve(status)
      } else if (type === Frame.credit) grant(getU32(payload, 0))
    },
    exited.reject,
  )
  return exited.promise
}

async function exec(line: Line, spec: ProcessSpec, signal?: AbortSignal): Promise<ExecSession> {
  const channel = openProcessChannel<ExitStatus>(line)
  const { stream } = channel
  let pid: number
  try {
    pid = (await line.request('exec', spec, { stream, signal })).pid
  } catch (error) {
    channel.drop(error as Error)
    throw error
  }
  return {
    pid,
    stdin: channel.stdin,
    stdout: channel.stdout,
    stderr: channel.stderr,
    exit: channel.exit,
    resize: async (window) => void (await line.request('resize', { stream, ...window }, { timeout: QUICK })),
    signal: async (name) => void (await line.request('signal', { stream, signal: name }, { timeout: QUICK })),
  }
}

/** Connects to the unix socket of the VM's `zos.agent` port and shakes hands; works any number of times per VM. */
export async function connectAgent(socketPath: string, options: ConnectOptions = {}): Promise<Agent> {
  const line = await openLine(socketPath, options)
  const started = Promise.withResolvers<void>()
  started.promise.catch(() => {})
  if (line.state.phase !== 'idle') started.resolve()
  const outlet = openOutlet(line, 0, line.state.stdinCredit, started.promise)
  const stdin = writableOf(outlet)
  const exited = openOutput(line, outlet.grant, options.onOutput)
  void line.closed.then((reason) => {
    const error = new ZosError(reason, { code: 'agent-gone', kind: 'node' })
    started.reject(error)
    stdin.destroy(error)
  })
  const quick = { timeout: QUICK }
  return {
    state: line.state,
    async start(spec) {
      const { pid } = await line.request('start', spec)
      started.resolve()
      return { pid }
    },
    ack: (offset) => line.send(encodeU64(Frame.ack, 0, offset)),
    exited,
    closed: line.closed,
    stdin,
    resize: async (window) => void (await line.request('resize', { stream: 0, ...window }, quick)),
    signal: async (name) => void (await line.request('signal', { stream: 0, signal: name }, quick)),
    exec: (spec, { signal } = {}) => exec(line, spec, signal),
    stats: () => line.request('stats', null, quick),
    processes: () => askHelper(line, 'processes', null),
    stat: (path, { follow = false } = {}) => askHelper(line, 'stat', { path, follow }),
    copyIn: (path, items, copyOptions = {}) => copyIn(line, path, items, copyOptions),
    copyOut: (path, copyOptions = {}) => copyOut(line, path, copyOptions),
    dial: (port, dialOptions) => dial(line, port, dialOptions),
    sync: async () => void (await askHelper(line, 'sync', null)),
    async powerOff(graceMs, { signal = 'TERM' } = {}) {
      // the guest may be off before its answer has left it
      await line.request('powerOff', { graceMs, signal }, quick).catch((error) => {
        if (codeOf(error) !== 'agent-gone') throw error
      })
      const late = Promise.withResolvers<void>()
      const limit = graceMs + QUICK
      const timer = setTimeout(
        () =>
          late.reject(
            new ZosError(`Power off: the guest still runs after ${limit / 1000} s; kill the VM`, {
              code: 'deadline',
              kind: 'node',
            }),
          ),
        limit,
      )
      try {
        await Promise.race([line.closed, late.promise])
      } finally {
        clearTimeout(timer)
      }
    },
    [Symbol.asyncDispose]: () => line.close(),
  }
}
