import type { ProcessSpec, Rlimit } from '../src/vm/agent/types.ts'
import { Failure } from './failure.ts'
import { E, errnoText, execve, mkdirs, must, readTextIf, sys } from './native.ts'
import { completeEnv, type Identity, resolveUser } from './users.ts'

/**
 * Docker's default capabilities (moby oci/caps/defaults.go): CHOWN, DAC_OVERRIDE, FSETID, FOWNER, MKNOD, NET_RAW, SETGID, SETUID,
 * SETFCAP, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, KILL, AUDIT_WRITE.
 */
const CAPABILITIES = 0xa80425fb
const PR_CAPBSET_DROP = 24
const TIOCSCTTY = 0x540e

/** What is read of a tree before its program, whichever that is. */
export const LOOKED_UP = ['/etc/passwd', '/etc/group'] as const

/** RLIMIT_* of asm-generic/resource.h. */
const LIMITS: Record<string, number> = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
}

/** Docker's, for every process: the kernel's own 1024 is what no server lives with. At boot, since it is inherited. */
export function raiseLimits(): void {
  limit({ name: 'nofile', soft: 1048576, hard: 1048576 })
  limit({ name: 'nproc', soft: -1, hard: -1 })
}

function limit({ name, soft, hard }: Rlimit): void {
  const resource = LIMITS[name]
  if (resource === undefined) throw new Failure('bad-rlimit', `unknown rlimit "${name}"`, 126)
  const value = new Uint8Array(16)
  const view = new DataView(value.buffer)
  for (const [at, n] of [
    [0, soft],
    [8, hard],
  ] as const) {
    view.setUint32(at, n < 0 ? 0xffffffff : n % 2 ** 32, true)
    view.setUint32(at + 4, n < 0 ? 0xffffffff : Math.floor(n / 2 ** 32), true)
  }
  must(`Set rlimit ${name}`, sys('prlimit64', 0, resource, value, null))
}

function become({ uid, gid, groups }: Identity, confined: boolean): void {
  if (confined) {
    // 40 is CAP_CHECKPOINT_RESTORE, the last one of Linux 6.12; numbers the kernel lacks answer EINVAL
    for (let cap = 0; cap <= 40; cap++) {
      if (cap > 31 || ((CAPABILITIES >>> cap) & 1) === 0) sys('prctl', PR_CAPBSET_DROP, cap, 0, 0, 0)
    }
  }
  const list = new Uint8Array(groups.length * 4 + 4)
  const view = new DataView(list.buffer)
  for (const [i, id] of groups.entries()) view.setUint32(i * 4, id, true)
  must('Set groups', sys('setgroups', groups.length, list))
  must('Set the group', sys('setresgid', gid, gid, gid))
  must('Set the user', sys('setresuid', uid, uid, uid))
}

/** What a workload's processes have in common. */
export type Place = { hostname: string; confined: boolean }

/** Runs the program, in the workload's root and namespaces by now; throws a Failure with Docker's 126 or 127 if it cannot. */
export function runProgram(spec: ProcessSpec, { hostname, confined }: Place, makeCwd: boolean): never {
  let identity: Identity
  try {
    identity = resolveUser(spec.user, readTextIf(LOOKED_UP[0]), readTextIf(LOOKED_UP[1]), spec.groupAdd)
  } catch (error) {
    throw new Failure('no-user', (error as Error).message, 126)
  }
  if (spec.tty) must('Take the terminal', sys('ioctl', 0, TIOCSCTTY, 0))
  // so that a program may open /dev/stdout again as its own user
  for (const fd of spec.stdin || spec.tty ? [0, 1, 2] : [1, 2]) sys('fchown', fd, identity.uid, -1)
  const cwd = spec.cwd || '/'
  if (makeCwd) mkdirs(cwd)
  for (const one of spec.rlimits ?? []) limit(one)
  become(identity, confined)
  const moved = sys('chdir', cwd)
  if (moved < 0) throw new Failure('bad-cwd', `chdir to "${cwd}": ${errnoText(-moved)}`, 126)
  const env = completeEnv(spec.env, identity.home, hostname, spec.tty !== null)
  sys('umask', 0o022)
  return execute(spec.argv, env)
}

function execute(argv: string[], env: string[]): never {
  const name = argv[0] ?? ''
  if (name.includes('/')) {
    const errno = -execve(name, argv, env)
    throw new Failure(
      'exec-failed',
      `exec: "${name}": ${isDirectory(name) ? errnoText(E.EISDIR) : errnoText(errno)}`,
      errno === E.ENOENT || errno === E.ENOTDIR ? 127 : 126,
    )
  }
  const path = env.find((pair) => pair.startsWith('PATH='))?.slice(5) ?? ''
  for (const dir of path.split(':')) {
    if (name === '') break
    const errno = -execve(`${dir || '.'}/${name}`, argv, env)
    if (errno === E.ENOENT || errno === E.ENOTDIR || errno === E.EACCES) continue
    throw new Failure('exec-failed', `exec: "${dir}/${name}": ${errnoText(errno)}`, 126)
  }
  throw new Failure('exec-failed', `exec: "${name}": executable file not found in $PATH`, 127)
}

function isDirectory(path: string): boolean {
  const statx = new Uint8Array(256)
  return sys('statx', -100, path, 0, 1, statx) === 0 && ((statx[29]! << 8) & 0xf000) === 0x4000
}
