import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export function must(r: SpawnSyncReturns<Buffer>, what: string): Buffer {
  if (r.status !== 0) throw new Error(`${what}: exit ${r.status}: ${String(r.stderr).slice(-500)}`)
  return r.stdout
}

/** Below what it would raise them to: raising is what the sandbox denies. */
export const RLIMITS = ['--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024']

export type Podman = Disposable & {
  import: (tar: string, name: string) => void
  run: (args: string[]) => number
  /** CPU seconds of COUNT runs in a row, of all processes they start, orphans included. */
  cpuSeconds: (count: number, args: string[]) => number
}

/** podman with runc and a storage of its own below DIR. */
export const podmanFlags = (dir: string): string[] => [
  '--root',
  join(dir, 'root'),
  '--runroot',
  join(dir, 'run'),
  '--runtime',
  'runc',
  '--cgroup-manager',
  'cgroupfs',
  '--log-level',
  'error',
]

/**
 * podman with runc and a storage of its own. A sandbox that denies raising rlimits or lacks cgroup v2 needs the flags
 * above to run it at all; they make it faster, not slower.
 */
export function podman(): Podman {
  const dir = mkdtempSync(join(tmpdir(), 'zos-podman-'))
  const call = (args: string[]) => spawnSync('podman', [...podmanFlags(dir), ...args], { maxBuffer: 1 << 26 })
  const running = (args: string[]) => ['run', '--network=none', ...RLIMITS, ...args]
  return {
    cpuSeconds(count, args) {
      // the first process of a PID namespace inherits every orphan (conmon is one), and with it what it used
      const inside = 'n=$1; shift; i=0; while [ $i -lt $n ]; do "$@" || exit 1; i=$((i+1)); done'
      const words = ['sh', '-c', inside, 'sh', String(count), 'podman', ...podmanFlags(dir), ...running(args)]
      const timed = spawnSync('bash', [
        '-c',
        'TIMEFORMAT="%U %S"; time "$@"',
        'bash',
        'unshare',
        '--fork',
        '--pid',
        '--mount-proc',
        ...words,
      ])
      must(timed, 'podman run in a PID namespace')
      const [user, system] = String(timed.stderr).trim().split('\n').at(-1)!.split(' ').map(Number)
      return user! + system!
    },
    import: (tar, name) => void must(call(['import', tar, name]), 'podman import'),
    run(args) {
      const begun = performance.now()
      must(call(running(args)), 'podman run')
      return performance.now() - begun
    },
    [Symbol.dispose]() {
      call(['rm', '-af'])
      call(['rmi', '-af'])
      spawnSync('umount', [join(dir, 'root/overlay')])
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** User and system CPU seconds of PIDS and of the children they have buried. */
export function cpuSecondsOf(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const path = `/proc/${pid}/stat`
    if (!existsSync(path)) continue
    const fields = readFileSync(path, 'latin1').split(') ')[1]!.split(' ')
    // proc(5): utime 14, stime 15, cutime 16, cstime 17, counted from the pid
    ticks += [11, 12, 13, 14].reduce((n, i) => n + Number(fields[i]), 0)
  }
  return ticks / 100
}
