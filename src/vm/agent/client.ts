import { codeOf, ZosError } from '#codec'
import type { Agent, ConnectOptions, ExecSession } from './agent.ts'
import { openOutlet, openProcessChannel, writableOf } from './channel.ts'
import { askHelper, copyIn, copyOut } from './copy.ts'
import { decodeExit } from './decode.ts'
import { dial } from './dial.ts'
import { type Line, openLine, type StreamHandler } from './line.ts'
import { encodeU64, Frame, getU32, getU64, RING } from './protocol.ts'
import type { ExitStatus, ProcessSpec } from './types.ts'

/** Answers that need no disk of the guest; the others may have to wait for a chunk. */
const QUICK = 30_000

type Main = {
  handler: StreamHandler
  exited: Promise<ExitStatus>
  /** Of the main process's stdin; set once there is one. */
  grant: (bytes: number) => void
  /** The caller has the agent soon: output may be handed on behind that. */
  open: () => void
  /** Output below OFFSET need not be held by the guest any more. */
  acked: (offset: number) => void
}

/** Hands output on in order, one piece at a time, and the exit after the last. */
function openMain({ onOutput, resumeFrom = 0 }: ConnectOptions): Main {
  const exited = Promise.withResolvers<ExitStatus>()
  exited.promise.catch(() => {})
  // Not before connectAgent's caller has the agent, whose ack() it needs. At most what the guest's ring holds waits here:
  // it sends no more until that is acknowledged.
  let busy: Promise<void> | undefined
  let over = false
  /** Where the next output begins; the first may begin later than asked for, when the rest is lost. */
  let next: number | undefined
  let acked = resumeFrom
  const follow = (work: () => void | Promise<void>) => {
    // after the line broke, what waits is the next line's to deliver
    const unlessOver = () => (over ? undefined : work())
    const done = busy ? busy.then(unlessOver) : unlessOver()
    if (!done) return
    const mine: Promise<void> = done.catch(exited.reject).then(() => {
      if (busy === mine) busy = undefined
    })
    busy = mine
  }
  const opened = Promise.withResolvers<void>()
  follow(() => opened.promise)
  const main: Main = {
    exited: exited.promise,
    grant: () => {},
    open: () => void setImmediate(opened.resolve),
    acked: (offset) => {
      acked = Math.max(acked, offset)
    },
    handler: {
      handle(type, payload) {
        if (type === Frame.output) {
          const channel = payload[7] === 2 ? 'stderr' : 'stdout'
          payload[7] = 0
          const offset = payload.length < 8 ? Number.NaN : getU64(payload, 0)
          const data = payload.subarray(8)
          if (next === undefined) acked = Math.max(acked, offset)
          // all of it waits here until it was acknowledged: a guest that sends on regardless would fill our memory
          if (offset !== (next ?? offset) || !(offset + data.length <= acked + RING))
            throw new ZosError('Talk to the agent: it sent output nobody asked for', {
              code: 'agent-gone',
              kind: 'node',
            })
          next = offset + data.length
          follow(() => onOutput?.({ channel, offset, data }))
        } else if (type === Frame.exited) {
          const status = decodeExit(payload)
          follow(() => exited.resolve(status))
        } else if (type === Frame.credit) main.grant(getU32(payload, 0))
      },
      lost: (error) => {
        over = true
        exited.reject(error)
      },
    },
  }
  return main
}

async function exec(line: Line, spec: ProcessSpec): Promise<ExecSession> {
  const channel = openProcessChannel(line)
  const { stream } = channel
  let pid: number
  try {
    pid = (await line.request('exec', spec, { stream })).pid
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
    async signal(name, { group = false } = {}) {
      await line.request('signal', { stream, signal: name, group }, { timeout: QUICK })
    },
  }
}

/** Connects to the unix socket of the VM's `zos.agent` port and shakes hands; works any number of times per VM. */
export async function connectAgent(socketPath: string, options: ConnectOptions = {}): Promise<Agent> {
  const main = openMain(options)
  const line = await openLine(socketPath, options, main.handler)
  const started = Promise.withResolvers<void>()
  started.promise.catch(() => {})
  if (line.state.phase !== 'idle') started.resolve()
  const outlet = openOutlet(line, 0, line.state.stdinCredit, started.promise)
  const stdin = writableOf(outlet)
  main.grant = outlet.grant
  void line.closed.then((reason) => {
    const error = new ZosError(reason, { code: 'agent-gone', kind: 'node' })
    started.reject(error)
    stdin.destroy(error)
  })
  const quick = { timeout: QUICK }
  main.open()
  return {
    state: line.state,
    // may wait for the disk
    prepare: async (what) => void (await line.request('prepare', what)),
    warmUp: async (now) => void (await line.request('warmUp', now, quick)),
    async start(spec) {
      const { pid } = await line.request('start', spec)
      started.resolve()
      return { pid }
    },
    ack: (offset) => {
      main.acked(offset)
      line.send(encodeU64(Frame.ack, 0, offset))
    },
    exited: main.exited,
    closed: line.closed,
    stdin,
    resize: async (window) => void (await line.request('resize', { stream: 0, ...window }, quick)),
    signal: async (name) => void (await line.request('signal', { stream: 0, signal: name }, quick)),
    exec: (spec) => exec(line, spec),
    stats: () => line.request('stats', null, quick),
    processes: () => askHelper(line, 'processes', null),
    stat: (path, { follow = false } = {}) => askHelper(line, 'stat', { path, follow }),
    copyIn: (path, items, copyOptions = {}) => copyIn(line, path, items, copyOptions),
    copyOut: (path, copyOptions = {}) => copyOut(line, path, copyOptions),
    dial: (port, dialOptions) => dial(line, port, dialOptions),
    sync: async () => void (await askHelper(line, 'sync', null)),
    // may wait for the disk
    grow: async (serial, size) => void (await line.request('grow', { serial, size })),
    clock: (by) => line.request('clock', { by }, quick),
    lease: (until) => line.request('lease', { until }, quick),
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
