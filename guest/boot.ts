import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { makeCgroups } from './cgroup.ts'
import { makeDevices } from './devices.ts'
import { findDisks } from './disks.ts'
import { close, list, MS, mkdir, mount, must, O, open, readTextIf, sys, writeFile } from './native.ts'
import { TREE } from './tree.ts'

/** As PID 1, from the initramfs: what can be done before anybody knows what will run here. No disk is read. */
export function boot(): void {
  loadModules()
  becomeRoot()
  mount('proc', '/proc', 'proc', MS.NOSUID | MS.NODEV | MS.NOEXEC)
  mount('sysfs', '/sys', 'sysfs', MS.NOSUID | MS.NODEV | MS.NOEXEC)
  mount('devtmpfs', '/dev', 'devtmpfs', MS.NOSUID | MS.NOEXEC)
  mount('cgroup', '/sys/fs/cgroup', 'cgroup2', MS.NOSUID | MS.NODEV | MS.NOEXEC, 'nsdelegate,memory_recursiveprot')
  makeCgroups()
  makeDevices()
  findDisks()
  loopbackUp()
  // as in Docker's containers: any user may use low ports and ping
  setting('net/ipv4/ip_unprivileged_port_start', '0')
  setting('net/ipv4/ping_group_range', '0 2147483647')
}

/** In the order the list was built in; one the machine has no use for (ENODEV) is left out. */
function loadModules(): void {
  for (const name of readTextIf('/modules/order').split('\n')) {
    if (name === '') continue
    const fd = must(`Open module ${name}`, open(`/modules/${name}`, O.RDONLY))
    const result = sys('finit_module', fd, '', 0)
    close(fd)
    if (result < 0 && result !== -19) must(`Load module ${name}`, result)
  }
}

/** The initramfs cannot be pivoted away from, so a tmpfs goes over it; its modules are given back. */
function becomeRoot(): void {
  for (const name of ['/init', ...list('/modules').map((n) => `/modules/${n}`)]) sys('unlinkat', -100, name, 0)
  mkdir('/new')
  mount('tmpfs', '/new', 'tmpfs', MS.NODEV, 'mode=755,size=4m')
  must('Enter /new', sys('chdir', '/new'))
  mount('.', '/', '', MS.MOVE)
  must('Change the root', sys('chroot', '.'))
  for (const dir of ['/proc', '/sys', '/dev', TREE]) mkdir(dir)
}

const SIOCSIFFLAGS = 0x8914
const IFF_UP = 1

function loopbackUp(): void {
  const fd = must('Make a socket', sys('socket', 2, 2 | O.CLOEXEC, 0))
  // struct ifreq: name 16, flags
  const request = new Uint8Array(40)
  request.set(encodeUtf8('lo'))
  request[16] = IFF_UP
  const result = sys('ioctl', fd, SIOCSIFFLAGS, request)
  close(fd)
  must('Bring up lo', result)
}

function setting(path: string, value: string): void {
  try {
    writeFile(`/proc/sys/${path}`, encodeUtf8(value))
  } catch {
    // a kernel without it can do without it
  }
}
