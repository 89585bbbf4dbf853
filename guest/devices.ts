import { AT_FDCWD, device, MS, mkdir, mount, must, sys } from './native.ts'

const CHARACTER = 0o020000
const BLOCK = 0o060000

/** What Docker's containers find, then what takes a kernel of one's own; opening one of these loads its module. */
const NODES: [string, number, number, number][] = [
  ['null', 0o666, 1, 3],
  ['zero', 0o666, 1, 5],
  ['full', 0o666, 1, 7],
  ['random', 0o666, 1, 8],
  ['urandom', 0o666, 1, 9],
  ['tty', 0o666, 5, 0],
  ['kmsg', 0o644, 1, 11],
  ['fuse', 0o666, 10, 229],
  ['net/tun', 0o666, 10, 200],
  ['mapper/control', 0o600, 10, 236],
  ['loop-control', 0o660, 10, 237],
]
const LOOP_MAJOR = 7
const LOOPS = 16
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
  for (const dir of ['net', 'mapper', 'pts', 'shm', 'mqueue']) mkdir(`${DEVICES}/${dir}`)
  for (const [name, mode, major, minor] of NODES) makeNode(name, CHARACTER | mode, device(major, minor))
  for (let n = 0; n < LOOPS; n++) makeNode(`loop${n}`, BLOCK | 0o660, device(LOOP_MAJOR, n))
  for (const [name, target] of Object.entries(LINKS))
    must(`Make ${name}`, sys('symlinkat', target, AT_FDCWD, `${DEVICES}/${name}`))
  const options = 'newinstance,ptmxmode=0666,mode=0620,gid=5'
  mount('devpts', `${DEVICES}/pts`, 'devpts', MS.NOSUID | MS.NOEXEC, options)
  mount('shm', `${DEVICES}/shm`, 'tmpfs', MS.NOSUID | MS.NODEV | MS.NOEXEC, 'mode=1777,size=65536k')
}

function makeNode(name: string, mode: number, number: number): void {
  const path = `${DEVICES}/${name}`
  must(`Make ${path}`, sys('mknodat', AT_FDCWD, path, mode, number))
  sys('fchmodat', AT_FDCWD, path, mode & 0o7777)
}
