import { decodeJson } from '../src/vm/agent/protocol.ts'
import type { AgentFailure, StartSpec } from '../src/vm/agent/types.ts'
import { openCgroup } from './cgroup.ts'
import { KEPT, startChild } from './child.ts'
import { supervise } from './init.ts'
import { arm, IN, unwatch, watch } from './loop.ts'
import { CLONE, close, exit, fork, must, nonblocking, O, open, pipe, sys, writeAll } from './native.ts'
import { runProgram } from './program.ts'

/** Our ends; a number below 0 is none. */
export type Stdio = { stdin: number; outputs: { fd: number; channel: number }[]; terminal: number }

/** A child in namespaces of its own that has all but the program: it waits for the start message. */
export type Waiting = {
  pid: number
  /** Its start message goes in here. */
  line: number
  stdio: Stdio
  /** Set by whoever tells it to go on. */
  started: (failure: AgentFailure | null) => void
  ended: (status: number) => void
}

export const NAMESPACES = CLONE.NEWPID | CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC

/** What a pipe holds, less the length in front. With more PID 1 would have to wait: such a workload gets a child of its own. */
export const LONGEST = 65536 - 4

/** The last steps, in the child that becomes the workload's first process. */
export function becomeMain(spec: StartSpec): never {
  must('Set the host name', sys('sethostname', spec.hostname, spec.hostname.length))
  if (spec.init) {
    const pid = must('Fork', fork(0, -1))
    if (pid > 0) supervise(pid)
    sys('setsid')
  }
  return runProgram(spec.process, spec, true)
}

/** In the child: the message, which may come in pieces; the end of the line is the end of the wait. */
function message(): StartSpec {
  const bytes = new Uint8Array(LONGEST + 4)
  let length = 0
  for (;;) {
    const got = sys('read', KEPT, bytes.subarray(length), bytes.length - length)
    if (got <= 0) exit(0)
    length += got
    const whole = 4 + new DataView(bytes.buffer).getUint32(0, true)
    if (length < 4 || length < whole) continue
    close(KEPT)
    return decodeJson(bytes.subarray(4, whole)) as StartSpec
  }
}

/** Forks one into CGROUP (null: ours) that first runs ENTER; READY comes when it waits, or says why it does not. */
export function forkWaiting(
  cgroup: string | null,
  enter: () => void,
  ready: (failure: AgentFailure | null, waiting: Waiting) => void,
): void {
  // not a pair of sockets: their code is hundreds of blocks more for an emulator to translate
  const [theirs, line] = pipe()
  const [inRead, inWrite] = pipe()
  const [outRead, outWrite] = pipe()
  const [errRead, errWrite] = pipe()
  for (const fd of [inWrite, outRead, errRead]) nonblocking(fd)
  const outputs = [
    { fd: outRead, channel: 1 },
    { fd: errRead, channel: 2 },
  ]
  const waiting: Waiting = {
    pid: 0,
    line,
    stdio: { stdin: inWrite, outputs, terminal: -1 },
    started: (failure) => {
      if (failure) ready(failure, waiting)
    },
    ended: () => {},
  }
  const group = cgroup === null ? -1 : openCgroup(cgroup)
  waiting.pid = startChild({
    flags: NAMESPACES,
    cgroup: group,
    stdio: [inRead, outWrite, errWrite],
    keep: theirs,
    run: () => {
      enter()
      sys('write', 1, new Uint8Array(1), 1)
      const spec = message()
      if (!spec.process.stdin) must('Close the input', sys('dup3', must('Open', open('/dev/null', O.RDONLY)), 0, 0))
      becomeMain(spec)
    },
    started: (failure) => waiting.started(failure),
    ended: (status) => waiting.ended(status),
  })
  if (group >= 0) close(group)
  close(theirs)
  watch(outRead, () => {
    unwatch(outRead)
    // its end instead of its sign of life: whoever asked hears why from `started`, or of a kill from here
    const alive = sys('read', outRead, new Uint8Array(1), 1) === 1
    ready(alive ? null : { code: 'guest-failed', message: 'Wait for the start: the child ended' }, waiting)
  })
  arm(outRead, IN)
}

let held: number[] = []

/**
 * The namespaces of PID stay when it ends. The kernel takes a mount namespace down, with the file systems only it has, within
 * the exit of its last process, and waits for grace periods on the way: nobody should hear later of an exit for that.
 */
export function holdNamespaces(pid: number): void {
  held = ['mnt', 'ipc', 'uts'].map((kind) => must('Hold a namespace', open(`/proc/${pid}/ns/${kind}`, O.RDONLY)))
}

/** So that what is mounted in them can be unmounted. */
export function releaseNamespaces(): void {
  for (const fd of held) close(fd)
  held = []
}

/** Lets it go on as SPEC says: its handlers are set before. */
export function release(waiting: Waiting, message: Uint8Array): void {
  const head = new Uint8Array(4)
  new DataView(head.buffer).setUint32(0, message.length, true)
  writeAll(waiting.line, head)
  writeAll(waiting.line, message)
  close(waiting.line)
}

/** Ends one that is not wanted after all. */
export function dismiss(waiting: Waiting): void {
  waiting.started = () => {}
  waiting.ended = () => {}
  close(waiting.line)
  for (const fd of [waiting.stdio.stdin, ...waiting.stdio.outputs.map((o) => o.fd)]) close(fd)
}
