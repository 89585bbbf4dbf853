import { decodeJson, Frame } from '../src/vm/agent/protocol.ts'
import type { Methods, ProcessSpec, StartSpec, Window } from '../src/vm/agent/types.ts'
import { inChild } from './child.ts'
import { moveClock } from './clock.ts'
import { copyIn } from './copyin.ts'
import { copyOut } from './copyout.ts'
import { dial } from './dial.ts'
import { startExec } from './exec.ts'
import { Failure, failureOf } from './failure.ts'
import { startHelper } from './helper.ts'
import { startWorkload } from './launch.ts'
import { lease } from './lease.ts'
import { sayProcesses, sayStat } from './look.ts'
import { sys } from './native.ts'
import { sendJson } from './port.ts'
import { powerOff } from './power.ts'
import { prepare } from './prepare.ts'
import { currentHost, MAX_SESSIONS, sessionResize, sessions, signalPid } from './session.ts'
import { stats } from './stats.ts'
import { growVolume } from './volumes.ts'
import { warmUp } from './warm.ts'
import { type Answer, main, mainResize } from './workload.ts'

type Handlers = { [M in keyof Methods]: (stream: number, params: Methods[M][0], answer: Answer) => void }

const handlers: Handlers = {
  start: (_stream, spec: StartSpec, answer) => startWorkload(spec, answer),
  exec: (stream, spec: ProcessSpec, answer) => startExec(stream, spec, answer),
  prepare: (_stream, params, answer) => prepare(params, answer),
  warmUp: (_stream, params, answer) => warmUp(params, answer),
  dial: (stream, { port, host }, answer) => dial(stream, port, host, answer),
  resize: (_stream, { stream, rows, columns }, answer) => {
    const window: Window = { rows, columns }
    if (stream === 0) mainResize(window)
    else {
      const session = sessions.get(stream)
      if (!session) throw new Failure('not-running', 'Resize: the process has ended')
      sessionResize(session, window)
    }
    answer(null)
  },
  signal: (_stream, { stream, signal, group }, answer) => {
    const pid = stream === 0 ? (main.phase === 'running' ? main.pid : 0) : (sessions.get(stream)?.pid ?? 0)
    answer(signalPid(stream !== 0 && group === true ? -pid : pid, signal))
  },
  processes: (stream, _none, answer) => startHelper(stream, sayProcesses, answer),
  stat: (stream, { path, follow }, answer) => startHelper(stream, () => sayStat(path, follow), answer),
  copyOut: (stream, { path, follow }, answer) => startHelper(stream, () => copyOut(path, follow), answer),
  copyIn: (stream, { path, keepOwner }, answer) => startHelper(stream, () => copyIn(path, keepOwner), answer),
  sync: (stream, _none, answer) => startHelper(stream, () => sys('sync'), answer),
  grow: (_stream, { serial, size }, answer) => inChild(() => growVolume(serial, size), answer),
  stats: (_stream, _none, answer) => answer(null, stats()),
  clock: (_stream, { by }, answer) => answer(null, { time: moveClock(by) }),
  lease: (_stream, { until }, answer) =>
    answer(null, { now: lease(until, () => (main.phase === 'exited' ? 0 : main.pid)) }),
  powerOff: (_stream, { graceMs, signal }, answer) => {
    answer(null)
    powerOff(graceMs, signal)
  },
}

export function handleRequest(stream: number, payload: Uint8Array): void {
  const host = currentHost()
  const answer: Answer = (failure, result = null) => {
    if (host === currentHost()) sendJson(Frame.reply, stream, failure ? { error: failure } : { ok: result })
  }
  try {
    const { method, params } = decodeJson(payload) as { method: keyof Methods; params: never }
    const handler = handlers[method] as ((stream: number, params: unknown, answer: Answer) => void) | undefined
    if (!handler) throw new Failure('no-method', `The agent has no method "${method}"`)
    if (sessions.size >= MAX_SESSIONS)
      throw new Failure('too-many', `Open a stream: at most ${MAX_SESSIONS} are open at once`)
    handler(stream, params, answer)
  } catch (error) {
    answer(failureOf(error))
  }
}
