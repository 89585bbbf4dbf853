import type { GuestStats } from '../src/vm/agent/types.ts'
import { figure, ioFigure } from './cgroup.ts'
import { readTextIf } from './native.ts'
import { fileSystem } from './statfs.ts'
import { main } from './workload.ts'

/** Bytes used, and how many it may hold: what is kept back from it is not counted. */
function usage(path: string): { used: number; size: number } {
  const found = fileSystem(path)
  if (!found) return { used: 0, size: 0 }
  const used = (found.blocks - found.free) * found.blockSize
  return { used, size: used + found.available * found.blockSize }
}

export function stats(): GuestStats {
  const upper = main.phase === 'idle' || main.phase === 'starting' ? { used: 0, size: 0 } : usage('/upper')
  const resident = Number(readTextIf('/proc/self/statm').split(' ')[1] ?? 0)
  return {
    memory: figure('memory.current'),
    memoryPeak: figure('memory.peak'),
    memoryLimit: figure('memory.max'),
    inactiveFile: figure('memory.stat', 'inactive_file'),
    cpuUsec: figure('cpu.stat', 'usage_usec'),
    cpuUserUsec: figure('cpu.stat', 'user_usec'),
    cpuSystemUsec: figure('cpu.stat', 'system_usec'),
    pids: figure('pids.current'),
    ioReadBytes: ioFigure('rbytes'),
    ioWriteBytes: ioFigure('wbytes'),
    oomKills: figure('memory.events', 'oom_kill'),
    upperUsed: upper.used,
    upperSize: upper.size,
    agentRss: resident * 4096,
  }
}
