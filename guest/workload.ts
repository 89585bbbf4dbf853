import { Frame, WINDOW } from '../src/vm/agent/protocol.ts'
import type { AgentFailure, ExitStatus, StartSpec, Window } from '../src/vm/agent/types.ts'
import { figure } from './cgroup.ts'
import { close } from './native.ts'
import { sendJson } from './port.ts'
import { resizePty } from './pty.ts'
import { allSent, endRing, openRing, whenSent } from './ring.ts'
import { closeSink, closeWatched, endSink, openSink, put, type Sink } from './sink.ts'
import { exitStatus } from './status.ts'
import type { Stdio, Waiting } from './waiting.ts'

const SIGKILL = 9

type Phase = 'idle' | 'starting' | 'running' | 'exited'

/** The one main process of this VM, and what was made ready for it before anybody said what it is. */
export const main = {
  phase: 'idle' as Phase,
  pid: 0,
  hostname: '',
  confined: false,
  prepared: null as { rootHash: string; waiting: Waiting } | null,
}

let stdin: Sink | null = null
let terminal = -1
let exit: ExitStatus | null = null
let told = false
let flushed = false

export type Answer = (failure: AgentFailure | null, result?: unknown) => void

/** What follows when the main process runs, and when it has ended. */
export function mainHandlers(
  spec: StartSpec,
  ours: Stdio,
  failed: (failure: AgentFailure) => void,
  answer: Answer,
): Pick<Waiting, 'started' | 'ended'> {
  let failure: AgentFailure | null = null
  return {
    started: (f) => {
      failure = f
      if (f) {
        failed(f)
        return
      }
      main.phase = 'running'
      terminal = ours.terminal
      if (ours.stdin >= 0 && !spec.process.stdin && !spec.process.tty) {
        close(ours.stdin)
        ours.stdin = -1
      }
      stdin = openSink(0, ours.stdin, closeWatched)
      openRing(ours.outputs, () => {
        flushed = true
        tell()
      })
      answer(null, { pid: main.pid })
    },
    ended: (status) => {
      if (failure) return
      // the group dies as one (memory.oom.group): a main process that ended in another way did not run out of memory
      const oom = (status & 0x7f) === SIGKILL && figure('memory.events', 'oom_kill') > 0
      exit = exitStatus(status, oom)
      main.phase = 'exited'
      if (stdin) closeSink(stdin)
      terminal = -1
      endRing()
    },
  }
}

whenSent(tell)

/** The exit goes out once per host, after the last byte. */
function tell(): void {
  if (exit === null || !flushed || told || !allSent()) return
  told = true
  sendJson(Frame.exited, 0, exit)
}

/** A new host has to be told again. */
export function tellAgain(): void {
  told = false
  tell()
}

export function mainInput(bytes: Uint8Array): void {
  if (stdin) put(stdin, bytes)
}

export function mainInputEnd(): void {
  if (stdin && terminal < 0) endSink(stdin)
}

/** What a new host may send at once; everything granted to the old one is forgotten. */
export function stdinCredit(): number {
  if (!stdin) return WINDOW
  stdin.taken = 0
  stdin.granted = WINDOW - stdin.queued
  return stdin.granted
}

export function mainResize(window: Window): void {
  if (terminal >= 0) resizePty(terminal, window)
}
