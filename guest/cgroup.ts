import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { close, mkdir, must, O, open, readTextIf, writeAll } from './native.ts'

/**
 * `limit` carries the limits, `run` below it is what the workload sees as its own root: so it cannot lift them. `exec` is
 * where processes go that join a workload which has made `run` an inner node (systemd does).
 */
const ROOT = '/sys/fs/cgroup'
const LIMIT = `${ROOT}/limit`
export const RUN = `${LIMIT}/run`
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
  write(`${ROOT}/cgroup.subtree_control`, CONTROLLERS)
  mkdir(LIMIT)
  write(`${LIMIT}/cgroup.subtree_control`, CONTROLLERS)
  mkdir(RUN)
  mkdir(EXEC)
  write(`${LIMIT}/memory.oom.group`, '1')
}

const PERIOD = 100_000

export function setLimits(memory: number, cpus: number, pids: number): void {
  write(`${LIMIT}/memory.max`, memory > 0 ? `${memory}` : 'max')
  write(`${LIMIT}/cpu.max`, cpus > 0 ? `${Math.max(1000, Math.round(cpus * PERIOD))} ${PERIOD}` : `max ${PERIOD}`)
  write(`${LIMIT}/pids.max`, pids > 0 ? `${pids}` : 'max')
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
