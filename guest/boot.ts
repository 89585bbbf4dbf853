import { makeCgroups } from './cgroup.ts'
import { makeDevices } from './devices.ts'
import { findDisks } from './disks.ts'
import { mountModules } from './kmod.ts'
import { close, list, MS, mkdir, mount, must, O, open, readText, readTextIf, sys } from './native.ts'
import { prepareNetwork } from './network.ts'
import { raiseLimits } from './program.ts'
import { TREE } from './tree.ts'

/** As PID 1, from the initramfs: what can be done before anybody knows what will run here. No disk is read. */
export function boot(): void {
  loadModules()
  const modules = readText('/modules/disk')
  becomeRoot()
  mount('proc', '/proc', 'proc', MS.NOSUID | MS.NODEV | MS.NOEXEC)
  mount('sysfs', '/sys', 'sysfs', MS.NOSUID | MS.NODEV | MS.NOEXEC)
  mount('devtmpfs', '/dev', 'devtmpfs', MS.NOSUID | MS.NOEXEC)
  mount('cgroup', '/sys/fs/cgroup', 'cgroup2', MS.NOSUID | MS.NODEV | MS.NOEXEC, 'nsdelegate,memory_recursiveprot')
  makeCgroups()
  raiseLimits()
  makeDevices()
  findDisks()
  mountModules(modules)
  prepareNetwork()
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
