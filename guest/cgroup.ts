import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { CLONE, close, MS, mkdir, mount, must, O, open, readTextIf, sys, writeAll, writeFile } from './native.ts'

/**
 * `limit` carries the limits, `run` below it is what the workload sees as its own root: so it cannot lift them. Its first
 * process is in `init.scope` below that, where systemd would go: so `run` holds no process and whoever makes groups in it
 * (systemd, podman) has all controllers. `exec` is for processes that join a workload which has done away with that.
 */
const ROOT = '/sys/fs/cgroup'
const LIMIT = `${ROOT}/limit`
const RUN = `${LIMIT}/run`
export const INIT = `${RUN}/init.scope`
export const EXEC = `${LIMIT}/exec`
const CONTROLLERS = '+memory +cpu +pids +io'

export function write(path: string, text: string): void {
  const fd = must(`Open ${path}`, open(path, O.WRONLY))
  try {
    writeAll(fd, encodeUtf8(text))
  } finally {
    close(fd)
  }
}

export function makeCgroups(): void {
  countProcessors()
  write(`${ROOT}/cgroup.subtree_control`, CONTROLLERS)
  mkdir(LIMIT)
  write(`${LIMIT}/cgroup.subtree_control`, CONTROLLERS)
  mkdir(RUN)
  mkdir(EXEC)
  keepNamespace()
  write(`${RUN}/cgroup.subtree_control`, CONTROLLERS)
  mkdir(INIT)
  write(`${LIMIT}/memory.oom.group`, '1')
}

/** Where the cgroup namespace whose root is RUN is kept; a process has to be in RUN to make it, and none may be later. */
const NAMESPACE = '/cgroup'

function keepNamespace(): void {
  const home = must('Open own cgroup namespace', open('/proc/self/ns/cgroup', O.RDONLY))
  write(`${RUN}/cgroup.procs`, '0')
  must('Make a cgroup namespace', sys('unshare', CLONE.NEWCGROUP))
  writeFile(NAMESPACE, new Uint8Array(0))
  mount('/proc/self/ns/cgroup', NAMESPACE, '', MS.BIND)
  must('Return to the cgroup namespace', sys('setns', home, CLONE.NEWCGROUP))
  write(`${ROOT}/cgroup.procs`, '0')
  close(home)
}

/** In a child: sees RUN as the root of all cgroups. */
export function enterCgroups(): void {
  const there = must('Open the cgroup namespace', open(NAMESPACE, O.RDONLY))
  must('Enter the cgroup namespace', sys('setns', there, CLONE.NEWCGROUP))
  close(there)
}

const PERIOD = 100_000

let processors = 0

function countProcessors(): void {
  const mask = new Uint8Array(128)
  const bytes = must('Count processors', sys('sched_getaffinity', 0, mask.length, mask))
  for (const byte of mask.subarray(0, bytes)) for (let bits = byte; bits > 0; bits >>>= 1) processors += bits & 1
}

let memoryLimit = 0

export function setLimits(memory: number, cpus: number, pids: number): void {
  // it holds at LIMIT; the others are where programs look for it
  for (const group of [LIMIT, RUN, INIT]) {
    if (memory > 0 && memory !== memoryLimit) write(`${group}/memory.max`, `${memory}`)
    // all there are need no limit, and the first one makes the kernel rewrite its own code
    if (cpus > 0 && cpus < processors)
      write(`${group}/cpu.max`, `${Math.max(1000, Math.round(cpus * PERIOD))} ${PERIOD}`)
  }
  memoryLimit = memory
  if (pids > 0) write(`${LIMIT}/pids.max`, `${pids}`)
}

export const openCgroup = (path: string): number => must(`Open ${path}`, open(path, O.RDONLY | O.DIRECTORY))

export function killAll(): void {
  write(`${LIMIT}/cgroup.kill`, '1')
}

/** The number after KEY in a `key value` file of the workload's cgroup, or of the whole file when there is no key. */
export function figure(file: string, key?: string): number {
  const text = readTextIf(`${LIMIT}/${file}`).trim()
  if (key === undefined) return Number(text) || 0
  for (const line of text.split('\n')) if (line.startsWith(`${key} `)) return Number(line.slice(key.length + 1))
  return 0
}

/** Sum over all devices of KEY in io.stat. */
export function ioFigure(key: string): number {
  let sum = 0
  for (const word of readTextIf(`${LIMIT}/io.stat`).split('\n').join(' ').split(' ')) {
    if (word.startsWith(`${key}=`)) sum += Number(word.slice(key.length + 1))
  }
  return sum
}

export const populated = (): boolean => figure('cgroup.events', 'populated') === 1
