import { AT_FDCWD, device, MS, mkdir, mount, must, sys } from './native.ts'

/** What Docker's containers find, and the nodes that need a kernel of one's own: FUSE, TUN, loop. */
const NODES: [string, number, number, number][] = [
  ['null', 0o666, 1, 3],
  ['zero', 0o666, 1, 5],
  ['full', 0o666, 1, 7],
  ['random', 0o666, 1, 8],
  ['urandom', 0o666, 1, 9],
  ['tty', 0o666, 5, 0],
  ['fuse', 0o666, 10, 229],
]
const LINKS = {
  fd: '/proc/self/fd',
  stdin: '/proc/self/fd/0',
  stdout: '/proc/self/fd/1',
  stderr: '/proc/self/fd/2',
  ptmx: 'pts/ptmx',
  core: '/proc/kcore',
}

/** Where /dev of the workload waits until it is moved into its tree. */
export const DEVICES = '/devices'

/** At boot, since it is the same for every workload. */
export function makeDevices(): void {
  mkdir(DEVICES)
  mount('tmpfs', DEVICES, 'tmpfs', MS.NOSUID | MS.NOEXEC | MS.STRICTATIME, 'mode=755,size=65536k')
  for (const [name, mode, major, minor] of NODES) {
    const path = `${DEVICES}/${name}`
    must(`Make ${path}`, sys('mknodat', AT_FDCWD, path, 0o020000 | mode, device(major, minor)))
    sys('fchmodat', AT_FDCWD, path, mode)
  }
  for (const [name, target] of Object.entries(LINKS))
    must(`Make ${name}`, sys('symlinkat', target, AT_FDCWD, `${DEVICES}/${name}`))
  for (const dir of ['pts', 'shm', 'mqueue']) mkdir(`${DEVICES}/${dir}`)
  const options = 'newinstance,ptmxmode=0666,mode=0620,gid=5'
  mount('devpts', `${DEVICES}/pts`, 'devpts', MS.NOSUID | MS.NOEXEC, options)
  mount('shm', `${DEVICES}/shm`, 'tmpfs', MS.NOSUID | MS.NODEV | MS.NOEXEC, 'mode=1777,size=65536k')
}
