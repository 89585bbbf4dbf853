import type { GuestStats } from '../src/vm/agent/types.ts'
import { figure, ioFigure } from './cgroup.ts'
import { close, O, open, readTextIf, sys } from './native.ts'
import { main } from './workload.ts'

function usage(path: string): { used: number; size: number } {
  const fd = open(path, O.RDONLY)
  if (fd < 0) return { used: 0, size: 0 }
  // struct statfs: type, bsize, blocks, bfree, bavail, … each 8 bytes on 64-bit machines
  const info = new Uint8Array(120)
  const result = sys('fstatfs', fd, info)
  close(fd)
  if (result < 0) return { used: 0, size: 0 }
  const view = new DataView(info.buffer)
  const at = (offset: number) => view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32
  return { used: (at(16) - at(24)) * at(8), size: at(16) * at(8) }
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
