import { encodeJson, Frame, getU32, WINDOW } from '../src/vm/agent/protocol.ts'
import { signalNumber } from '../src/vm/agent/signals.ts'
import type { AgentFailure, Window } from '../src/vm/agent/types.ts'
import { forget } from './child.ts'
import { sys } from './native.ts'
import { MAX_CHUNK, ready, type Source, seal, sendJson } from './port.ts'
import { resizePty } from './pty.ts'
import { closeSink, endSink, openSink, put, type Sink } from './sink.ts'
import { closeSpout, openSpout, pour, type Spout } from './spout.ts'
import { exitStatus } from './status.ts'

/** A stream with bytes both ways and perhaps a process behind it: exec, copy, dial. */
export type Session = Source & {
  stream: number
  sink: Sink
  spouts: Spout[]
  credit: number
  /** Ours to signal; 0 for a connection. */
  pid: number
  terminal: number
  /** Of wait(2); null while the process runs. */
  status: number | null
  /** Last words are out, or nobody listens any more. */
  over: boolean
  /** A connection has no exit: its directions end one by one. */
  connection: boolean
  /** Our own child, of use to nobody but its host. */
  helper: boolean
  endSent: boolean
}

export const sessions = new Map<number, Session>()
export const MAX_SESSIONS = 512

let host = 0
/** Counts the hosts: what was meant for an earlier one must not reach its successor. */
export const currentHost = (): number => host

/** Whatever the host before had open is closed. */
export function newHost(): void {
  host++
  for (const session of [...sessions.values()]) abandon(session)
}

/** HOST: who asked; when another has come since, nobody wants the session, and it ends as the others of that host did. */
export function openSession(options: {
  host: number
  stream: number
  pid: number
  input: number
  outputs: { fd: number; type: number }[]
  terminal?: number
  /** What the end of the input means: a pipe is closed, a socket half-closed. */
  finish: (fd: number) => void
  connection?: boolean
  helper?: boolean
}): Session {
  const { stream } = options
  const session: Session = {
    stream,
    sink: openSink(stream, options.input, (fd) => {
      options.finish(fd)
      if (session.connection && session.endSent) finish(session)
    }),
    spouts: [],
    credit: WINDOW,
    pid: options.pid,
    terminal: options.terminal ?? -1,
    status: null,
    over: false,
    connection: options.connection === true,
    helper: options.helper === true,
    endSent: false,
    queued: false,
    fill: (out) => fill(session, out),
  }
  session.spouts = options.outputs.map(({ fd, type }) => openSpout(fd, type, () => ready(session)))
  // a number used twice is the host's mistake: it loses the stream that had it
  const earlier = sessions.get(stream)
  if (options.host !== host) abandon(session)
  else {
    if (earlier) abandon(earlier)
    sessions.set(stream, session)
  }
  return session
}

function fill(session: Session, out: Uint8Array): number {
  if (session.over) return 0
  for (const spout of session.spouts) {
    while (spout.ready && spout.fd >= 0 && session.credit > 0) {
      const got = pour(spout, out, Math.min(MAX_CHUNK, session.credit), session.status !== null)
      if (got === 0) break
      session.credit -= got
      // the other one first next time
      session.spouts.reverse()
      return seal(spout.type, session.stream, got)
    }
  }
  if (session.spouts.some((s) => s.fd >= 0)) return 0
  return session.connection ? endConnection(session) : exitFrame(session, out)
}

function exitFrame(session: Session, out: Uint8Array): number {
  if (session.status === null) return 0
  finish(session)
  const frame = encodeJson(Frame.exit, session.stream, exitStatus(session.status, false))
  out.set(frame)
  return frame.length
}

function endConnection(session: Session): number {
  if (session.endSent) return 0
  session.endSent = true
  if (session.sink.fd < 0) finish(session)
  return seal(Frame.end, session.stream, 0)
}

/** The process of a session has ended: what is still in its pipes goes out, then its exit. */
export function sessionEnded(session: Session, status: number): void {
  session.status = status
  session.pid = 0
  for (const spout of session.spouts) spout.ready = true
  ready(session)
}

/** Frees everything; what was not sent is lost. */
export function finish(session: Session): void {
  session.over = true
  if (sessions.get(session.stream) === session) sessions.delete(session.stream)
  closeSink(session.sink)
  for (const spout of session.spouts) closeSpout(spout)
}

/** The host does not want it any more. Helpers die, programs see their input end and their output break. */
function abandon(session: Session): void {
  if (session.pid > 0) {
    if (session.helper) sys('kill', session.pid, 9)
    forget(session.pid)
  }
  finish(session)
}

/** A frame for one of the sessions; one that has ended while the frame was under way is no fault. */
export function sessionFrame(type: number, stream: number, payload: Uint8Array): void {
  const session = sessions.get(stream)
  if (!session) return
  if (type === Frame.data) {
    if (put(session.sink, payload)) return
    sendJson(Frame.reset, stream, { code: 'overrun', message: 'More bytes than were granted' })
    abandon(session)
  } else if (type === Frame.end) {
    // a terminal has one descriptor's end for both directions: its input does not end
    if (session.terminal < 0) endSink(session.sink)
  } else if (type === Frame.credit && payload.length === 4) {
    session.credit += getU32(payload, 0)
    ready(session)
  } else if (type === Frame.reset) abandon(session)
}

export function sessionResize(session: Session, window: Window): void {
  if (session.terminal >= 0) resizePty(session.terminal, window)
}

/** PID below 0: the group that -PID leads; 0: it has ended. */
export function signalPid(pid: number, name: string): AgentFailure | null {
  const number = signalNumber(name)
  if (number === 0) return { code: 'bad-signal', message: `Send signal "${name}": there is no such signal` }
  if (pid === 0 || sys('kill', pid, number) < 0)
    return { code: 'not-running', message: `Send signal "${name}": the process has ended` }
  return null
}
