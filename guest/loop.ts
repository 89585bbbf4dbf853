import { E, epollData, epollEvent, must, now, O, sys } from './native.ts'

/** One epoll for everything; no promise machinery on the data path. */
export const IN = 1
export const OUT = 4
export const HUP = 0x10
const ONESHOT = 1 << 30
const EDGE = 0x80000000

type Handler = (events: number) => void

const poll = must('Make an epoll', sys('epoll_create1', O.CLOEXEC))
const handlers = new Map<number, Handler>()
const event = new Uint8Array(epollEvent)
const eventView = new DataView(event.buffer)
const BATCH = 32
const ready = new Uint8Array(epollEvent * BATCH)
const readyView = new DataView(ready.buffer)

function control(op: number, fd: number, events: number): void {
  eventView.setUint32(0, events >>> 0, true)
  eventView.setUint32(epollData, fd, true)
  must(`Watch descriptor ${fd}`, sys('epoll_ctl', poll, op, fd, event))
}

/** HANDLER is called once per arm() when FD has one of EVENTS. */
export function watch(fd: number, handler: Handler): void {
  handlers.set(fd, handler)
  control(1, fd, ONESHOT)
}

/** Asks for the next event; a handler that does not arm again is left alone. */
export function arm(fd: number, events: number): void {
  control(3, fd, events | ONESHOT)
}

/** HANDLER is called at each change of FD towards EVENTS (EPOLLET), for ever. */
export function watchEdges(fd: number, events: number, handler: Handler): void {
  handlers.set(fd, handler)
  control(1, fd, events | EDGE)
}

/** Other edges from now on; one that has passed already counts. */
export function changeEdges(fd: number, events: number): void {
  control(3, fd, events | EDGE)
}

/** Before FD is closed. */
export function unwatch(fd: number): void {
  if (handlers.delete(fd)) control(2, fd, 0)
}

type Timer = { at: number; run: () => void }
let timers: Timer[] = []

/** Few are ever set, so a list will do. */
export function after(ms: number, run: () => void): Timer {
  const timer = { at: now() + ms, run }
  timers.push(timer)
  return timer
}

export function cancel(timer: Timer | null): void {
  timers = timers.filter((t) => t !== timer)
}

let idle: (() => boolean)[] = []

/** WORK runs at every turn; true means it wants the next turn at once. */
export function everyTurn(work: () => boolean): void {
  idle = [...idle, work]
}

/** One turn of the loop, called by c/main.c for ever. */
export function turn(): void {
  let busy = false
  for (const work of idle) busy = work() || busy
  let next = Number.POSITIVE_INFINITY
  for (let i = 0; i < timers.length; i++) next = Math.min(next, timers[i]!.at)
  const wait = busy ? 0 : next === Number.POSITIVE_INFINITY ? -1 : Math.max(0, Math.ceil(next - now()))
  const got = sys('epoll_pwait', poll, ready, BATCH, wait, null, 8)
  if (got < 0 && got !== -E.EINTR) must('Wait for events', got)
  for (let i = 0; i < got; i++) {
    const fd = readyView.getUint32(i * epollEvent + epollData, true)
    handlers.get(fd)?.(readyView.getUint32(i * epollEvent, true))
  }
  if (next !== Number.POSITIVE_INFINITY) {
    const time = now()
    const due = timers.filter((t) => t.at <= time)
    timers = timers.filter((t) => t.at > time)
    for (const timer of due) timer.run()
  }
}
