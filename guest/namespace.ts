import { enterCgroups } from './cgroup.ts'
import { CLONE, close, MS, mount, must, O, open, sys } from './native.ts'
import { TREE } from './tree.ts'

const SAFE = MS.NOSUID | MS.NODEV | MS.NOEXEC
const DETACH = 2

/** Closed to a confined workload as in Docker's containers (moby oci/defaults.go). */
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
const MASKED = ['/proc/kcore', '/proc/keys', '/proc/timer_list']

/** In the child that becomes the workload's PID 1, with its namespaces new: makes the tree its root. */
export function enterTree(confined: boolean, readOnly: boolean): void {
  enterCgroups()
  mount('none', '/', '', MS.REC | MS.PRIVATE)
  must(`Enter ${TREE}`, sys('chdir', TREE))
  must('Change the root', sys('pivot_root', '.', '.'))
  must('Leave the old root', sys('umount2', '.', DETACH))
  must('Enter /', sys('chdir', '/'))

  const sysFlags = confined ? SAFE | MS.RDONLY : SAFE
  mount('proc', '/proc', 'proc', SAFE)
  mount('sysfs', '/sys', 'sysfs', sysFlags)
  mount('cgroup', '/sys/fs/cgroup', 'cgroup2', sysFlags, 'nsdelegate,memory_recursiveprot')
  mount('mqueue', '/dev/mqueue', 'mqueue', SAFE)
  if (confined) {
    for (const path of READ_ONLY) {
      mount(path, path, '', MS.BIND | MS.REC)
      mount('none', path, '', MS.REMOUNT | MS.BIND | MS.RDONLY | SAFE)
    }
    for (const path of MASKED) sys('mount', '/dev/null', path, '', MS.BIND, null)
  }
  if (readOnly) mount('none', '/', '', MS.REMOUNT | MS.BIND | MS.RDONLY | MS.RELATIME)
}

/** In a child born into the workload's PID namespace: joins the others. */
export function joinWorkload(): void {
  joinPid(1, CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC | CLONE.NEWCGROUP)
}

/** In a child: sees the mounts that PID sees, and has its root. */
export function joinMounts(pid: number): void {
  joinPid(pid, CLONE.NEWNS)
}

function joinPid(pid: number, namespaces: number): void {
  const fd = must('Find the workload', sys('pidfd_open', pid, 0))
  must('Join the workload', sys('setns', fd, namespaces))
  close(fd)
}

/** RUN with children being born into the PID namespace of PID. */
export function inPidNamespace<T>(pid: number, run: () => T): T {
  const home = must('Open own PID namespace', open('/proc/self/ns/pid', O.RDONLY))
  const there = must('Find the workload', sys('pidfd_open', pid, 0))
  try {
    must('Join the PID namespace', sys('setns', there, CLONE.NEWPID))
    return run()
  } finally {
    sys('setns', home, CLONE.NEWPID)
    close(home)
    close(there)
  }
}
