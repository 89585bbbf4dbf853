import { Frame } from '../src/vm/agent/protocol.ts'
import type { ProcessSpec } from '../src/vm/agent/types.ts'
import { EXEC, INIT, openCgroup } from './cgroup.ts'
import { startChild } from './child.ts'
import { Failure } from './failure.ts'
import { inPidNamespace, joinWorkload } from './namespace.ts'
import { close, E, must, nonblocking, O, open, pipe, SysError, sys } from './native.ts'
import { runProgram } from './program.ts'
import { openPty } from './pty.ts'
import { currentHost, openSession, type Session, sessionEnded } from './session.ts'
import { closeWatched } from './sink.ts'
import { type Answer, main } from './workload.ts'

type Pipes = {
  child: [number, number, number]
  input: number
  outputs: { fd: number; type: number }[]
  terminal: number
}

function makePipes(spec: ProcessSpec): Pipes {
  if (spec.tty) {
    const [master, slave] = openPty(spec.tty)
    const input = must('Copy a descriptor', sys('fcntl', master, 1030, 3))
    return { child: [slave, slave, slave], input, outputs: [{ fd: master, type: Frame.data }], terminal: master }
  }
  const [outRead, outWrite] = pipe()
  const [errRead, errWrite] = pipe()
  let inRead: number
  let inWrite = -1
  if (spec.stdin) [inRead, inWrite] = pipe()
  else inRead = must('Open /dev/null', open('/dev/null', O.RDONLY))
  for (const fd of [outRead, errRead, inWrite]) if (fd >= 0) nonblocking(fd)
  return {
    child: [inRead, outWrite, errWrite],
    input: inWrite,
    outputs: [
      { fd: outRead, type: Frame.data },
      { fd: errRead, type: Frame.errorData },
    ],
    terminal: -1,
  }
}

/** A process that joins the workload. The session begins when it runs; it never begins for one that cannot. */
export function startExec(stream: number, spec: ProcessSpec, answer: Answer): void {
  if (main.phase !== 'running') throw new Failure('not-running', 'Run a command: the workload is not running')
  const host = currentHost()
  const pipes = makePipes(spec)
  let session: Session | null = null
  const begin = (cgroupPath: string): number => {
    const cgroup = openCgroup(cgroupPath)
    try {
      return inPidNamespace(main.pid, () =>
        startChild({
          flags: 0,
          cgroup,
          stdio: pipes.child,
          run: () => {
            joinWorkload()
            runProgram(spec, main, false)
          },
          started: (f) => {
            if (f) {
              for (const fd of [pipes.input, ...pipes.outputs.map((o) => o.fd)]) if (fd >= 0) close(fd)
              answer(f)
              return
            }
            session = openSession({
              host,
              stream,
              pid,
              input: pipes.input,
              outputs: pipes.outputs,
              terminal: pipes.terminal,
              finish: closeWatched,
            })
            answer(null, { pid })
          },
          ended: (status) => {
            if (session) sessionEnded(session, status)
          },
        }),
      )
    } finally {
      close(cgroup)
    }
  }
  let pid = 0
  try {
    pid = attempt(begin)
  } catch (error) {
    // the main process may have ended just now
    for (const fd of new Set([...pipes.child, pipes.input, ...pipes.outputs.map((o) => o.fd)])) if (fd >= 0) close(fd)
    throw error
  }
}

/** A workload that removed its first process's cgroup, or made it an inner node, cannot be joined there. */
function attempt(begin: (cgroup: string) => number): number {
  try {
    return begin(INIT)
  } catch (error) {
    if (!(error instanceof SysError) || (error.errno !== E.EBUSY && error.errno !== E.ENOENT)) throw error
    return begin(EXEC)
  }
}
