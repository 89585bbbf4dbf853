import type { AgentFailure } from '../src/vm/agent/types.ts'
import { decodeUtf8, encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { failureOf } from './failure.ts'
import { arm, IN, unwatch, watch } from './loop.ts'
import { close, E, exit, fork, must, nonblocking, O, open, pipe, sys } from './native.ts'

const waiters = new Map<number, (status: number) => void>()
const signals = new Uint8Array(128)
const noSignals = new Uint8Array(8)
const SIGCHLD = 17

/** All signals are blocked in zinit; SIGCHLD comes through a descriptor, SIGPIPE as EPIPE. */
export function superviseChildren(): void {
  sys('rt_sigprocmask', 0, new Uint8Array(8).fill(255), null, 8)
  const mask = new Uint8Array(8)
  mask[(SIGCHLD - 1) >> 3] = 1 << ((SIGCHLD - 1) & 7)
  const fd = must('Make a signalfd', sys('signalfd4', -1, mask, 8, O.CLOEXEC | O.NONBLOCK))
  watch(fd, () => {
    while (sys('read', fd, signals, signals.length) > 0);
    reap()
    arm(fd, IN)
  })
  arm(fd, IN)
}

const status = new Uint8Array(4)
const WNOHANG = 1

function reap(): void {
  for (;;) {
    const pid = sys('wait4', -1, status, WNOHANG, null)
    if (pid <= 0) return
    const waiter = waiters.get(pid)
    waiters.delete(pid)
    waiter?.(status[0]! | (status[1]! << 8))
  }
}

export type ChildOptions = {
  /** CLONE_* */
  flags: number
  /** A cgroup folder's descriptor, or -1. */
  cgroup: number
  /** The child's standard descriptors; closed here once it has them. */
  stdio: [number, number, number]
  /** Stays open in the child, as descriptor 4. */
  keep?: number
  /** Runs in the child and ends in exec or exit; what it throws is the failure. */
  run: () => void
  /** null: RUN went through to its exec (or exit). */
  started: (failure: AgentFailure | null) => void
  /** With the status of wait(2). Always after `started`. */
  ended: (status: number) => void
}

const ERRORS = 3
export const KEPT = 4

function becomeChild(options: ChildOptions, errors: number): never {
  try {
    // out of the way of 0…3 first, then to their places
    const kept = options.keep === undefined ? [] : [options.keep]
    const high = [...options.stdio, errors, ...kept].map((fd) => must('Move a descriptor', sys('fcntl', fd, 1030, 64)))
    for (let i = 0; i < 3; i++) must('Place a descriptor', sys('dup3', high[i]!, i, 0))
    must('Place a descriptor', sys('dup3', high[3]!, ERRORS, O.CLOEXEC))
    if (high[4] !== undefined) must('Place a descriptor', sys('dup3', high[4], KEPT, O.CLOEXEC))
    sys('close_range', ERRORS + 1 + kept.length, 0xffffffff, 0)
    sys('rt_sigprocmask', 2, noSignals, null, 8)
    sys('setsid')
    options.run()
    exit(0)
  } catch (error) {
    const text = encodeUtf8(JSON.stringify(failureOf(error)))
    sys('write', ERRORS, text, text.length)
    exit(127)
  }
}

/** In a child that will not exec: tells the parent that it is under way. */
export function underWay(): void {
  close(ERRORS)
}

export function startChild(options: ChildOptions): number {
  const [told, errors] = pipe()
  nonblocking(told)
  const pid = fork(options.flags, options.cgroup)
  if (pid === 0) becomeChild(options, errors)
  close(errors)
  if (pid < 0) {
    close(told)
    must('Fork', pid)
  }
  for (const fd of new Set(options.stdio)) close(fd)
  const text = new Uint8Array(4096)
  let length = 0
  let end: number | null = null
  let over = false
  const finish = () => {
    if (over && end !== null) options.ended(end)
  }
  waiters.set(pid, (status) => {
    end = status
    finish()
  })
  watch(told, () => {
    const got = sys('read', told, text.subarray(length), text.length - length)
    if (got > 0) length += got
    if (got > 0 || got === -E.EAGAIN) {
      arm(told, IN)
      return
    }
    unwatch(told)
    close(told)
    over = true
    options.started(length > 0 ? (JSON.parse(decodeUtf8(text, 0, length)) as AgentFailure) : null)
    finish()
  })
  arm(told, IN)
  return pid
}

/** RUN in a child of ours that has nothing to read or write; DONE says whether it threw. */
export function inChild(run: () => void, done: (failure: AgentFailure | null) => void): void {
  const none = must('Open /dev/null', open('/dev/null', O.RDWR))
  let failure: AgentFailure | null = null
  startChild({
    flags: 0,
    cgroup: -1,
    stdio: [none, none, none],
    run,
    started: (f) => {
      failure = f
    },
    ended: () => done(failure),
  })
}

/** Nobody wants to know about PID any more. */
export function forget(pid: number): void {
  if (waiters.has(pid)) waiters.set(pid, () => {})
}
