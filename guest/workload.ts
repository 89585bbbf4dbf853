import { Frame, WINDOW } from '../src/vm/agent/protocol.ts'
import type { AgentFailure, ExitStatus, StartSpec, Window } from '../src/vm/agent/types.ts'
import { figure, INIT, openCgroup, setLimits } from './cgroup.ts'
import { startChild } from './child.ts'
import { reseed, setClock } from './clock.ts'
import { Failure, failureOf } from './failure.ts'
import { supervise } from './init.ts'
import { enterTree } from './namespace.ts'
import { CLONE, close, fork, MS, mount, must, nonblocking, O, open, pipe, sys } from './native.ts'
import { configureCard } from './network.ts'
import { sendJson } from './port.ts'
import { runProgram } from './program.ts'
import { openPty, resizePty } from './pty.ts'
import { allSent, endRing, openRing, whenSent } from './ring.ts'
import { closeSink, closeWatched, endSink, openSink, put, type Sink } from './sink.ts'
import { exitStatus } from './status.ts'
import { buildTree, TREE } from './tree.ts'

type Phase = 'idle' | 'starting' | 'running' | 'exited'

/** The one main process of this VM. */
export const main = { phase: 'idle' as Phase, pid: 0, hostname: '', confined: false }

let stdin: Sink | null = null
let terminal = -1
let exit: ExitStatus | null = null
let told = false
let flushed = false

export type Answer = (failure: AgentFailure | null, result?: unknown) => void

/** Builds the tree in a helper, then starts the process; ANSWER comes when it runs, or says why it does not. */
export function startWorkload(spec: StartSpec, answer: Answer): void {
  if (main.phase !== 'idle')
    throw new Failure('already-started', 'Start the workload: one was started in this VM already')
  main.phase = 'starting'
  main.hostname = spec.hostname
  main.confined = spec.confined
  const failed = (failure: AgentFailure) => {
    main.phase = 'idle'
    answer(failure)
  }
  setClock(spec.time)
  reseed(spec.entropy)
  setLimits(spec.memoryLimit, spec.cpus, spec.pidsLimit ?? 0)
  if (spec.network) configureCard(spec.network)
  const none = must('Open /dev/null', open('/dev/null', O.RDWR))
  let failure: AgentFailure | null = null
  startChild({
    flags: 0,
    cgroup: -1,
    stdio: [none, none, none],
    run: () => buildTree(spec),
    started: (f) => {
      failure = f
    },
    ended: () => {
      try {
        if (failure) failed(failure)
        else launch(spec, failed, answer)
      } catch (error) {
        failed(failureOf(error))
      }
    },
  })
}

type Stdio = { child: [number, number, number]; ours: { stdin: number; outputs: { fd: number; channel: number }[] } }

function makeStdio(spec: StartSpec): Stdio {
  if (spec.process.tty) {
    const [master, slave] = openPty(spec.process.tty)
    terminal = master
    // one descriptor for both ways would be watched twice
    const other = must('Copy a descriptor', sys('fcntl', master, 1030, 3))
    // what programs take for the console is this terminal
    const console = `${TREE}/dev/console`
    close(must('Make /dev/console', open(console, O.CREAT | O.WRONLY, 0o600)))
    mount(`/proc/self/fd/${slave}`, console, '', MS.BIND)
    return { child: [slave, slave, slave], ours: { stdin: other, outputs: [{ fd: master, channel: 1 }] } }
  }
  const [outRead, outWrite] = pipe()
  const [errRead, errWrite] = pipe()
  let inRead: number
  let inWrite = -1
  if (spec.process.stdin) [inRead, inWrite] = pipe()
  else inRead = must('Open /dev/null', open('/dev/null', O.RDONLY))
  for (const fd of [outRead, errRead, inWrite]) if (fd >= 0) nonblocking(fd)
  const outputs = [
    { fd: outRead, channel: 1 },
    { fd: errRead, channel: 2 },
  ]
  return { child: [inRead, outWrite, errWrite], ours: { stdin: inWrite, outputs } }
}

function launch(spec: StartSpec, failed: (failure: AgentFailure) => void, answer: Answer): void {
  const { child, ours } = makeStdio(spec)
  const cgroup = openCgroup(INIT)
  let failure: AgentFailure | null = null
  main.pid = startChild({
    flags: CLONE.NEWPID | CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC,
    cgroup,
    stdio: child,
    run: () => {
      enterTree(spec)
      if (spec.init) {
        const pid = must('Fork', fork(0, -1))
        if (pid > 0) supervise(pid)
        sys('setsid')
      }
      runProgram(spec.process, spec, true)
    },
    started: (f) => {
      failure = f
      if (f) {
        failed(f)
        return
      }
      main.phase = 'running'
      stdin = openSink(0, ours.stdin, closeWatched)
      openRing(ours.outputs, () => {
        flushed = true
        tell()
      })
      answer(null, { pid: main.pid })
    },
    ended: (status) => {
      if (failure) return
      const oom = figure('memory.events', 'oom_kill') > 0
      exit = exitStatus(status, oom)
      main.phase = 'exited'
      if (stdin) closeSink(stdin)
      terminal = -1
      endRing()
    },
  })
  close(cgroup)
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
