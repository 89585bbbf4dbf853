import type { StartSpec } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { makeEntry } from './copyin.ts'
import { pourFile, walk } from './copyout.ts'
import { DEVICES } from './devices.ts'
import { diskBySerial, openVerity } from './disks.ts'
import { kernelRelease, MODULES } from './kmod.ts'
import { AT_FDCWD, close, E, list, MS, mkdir, mount, must, O, readText, SysError, sys, writeFile } from './native.ts'
import { ensureIn, mountIn, openIn, openRoot } from './root.ts'

/** Where zinit's own mount namespace has the workload's tree; made by a helper process, since any disk may be slow. */
export const TREE = '/workload'
const SAFE = MS.NOSUID | MS.NODEV | MS.NOEXEC

/** In order of mounting; unmounted the other way round. */
export const MOUNTS = ['/lower', '/upper', '/private', ...Array.from({ length: 6 }, (_, i) => `/vol${i}`)]

export function buildTree(spec: StartSpec): void {
  mountRoot(spec)
  const root = openRoot(TREE)
  try {
    mountIn(root, '/dev', 'directory', DEVICES, '', MS.MOVE)
    mountFiles(root, spec)
    mountModulesIn(root)
    const extra = [
      ...spec.tmpfs.map((t) => ({ target: t.target, run: () => mountTmpfs(root, t.target, t.options, spec.readOnly) })),
      ...spec.volumes.map((v) => ({ target: v.target, run: () => mountVolume(root, v, spec.readOnly) })),
    ]
    // a mount below another one's target comes after it
    extra.sort((a, b) => a.target.split('/').length - b.target.split('/').length)
    for (const { run } of extra) run()
    if (spec.readOnly && spec.process.cwd) close(ensureIn(root, spec.process.cwd, 'directory'))
  } finally {
    close(root)
  }
}

function mountRoot(spec: StartSpec): void {
  const device = openVerity('root', diskBySerial('root'), spec.root)
  for (const dir of ['/lower', '/upper', '/private']) mkdir(dir)
  mount(device, '/lower', 'erofs', MS.RDONLY | MS.RELATIME)
  mount('tmpfs', '/private', 'tmpfs', SAFE, 'mode=755,size=1m')
  makeSkeleton()
  // read-only: the upper layer is memory that holds nothing but mount points, and is closed before the program runs
  if (spec.readOnly) mount('tmpfs', '/upper', 'tmpfs', SAFE, 'mode=755,size=1m')
  else mount(diskBySerial('upper'), '/upper', 'ext4', MS.RELATIME)
  mkdir('/upper/data')
  mkdir('/upper/work')
  const layers = `lowerdir=/lower:${SKELETON},upperdir=/upper/data,workdir=/upper/work`
  mount('overlay', TREE, 'overlay', MS.RELATIME, layers)
}

const SKELETON = '/private/skeleton'

/** Below the image: the mount points every workload needs, so that one the image lacks is not written to the upper disk. */
function makeSkeleton(): void {
  for (const dir of ['', '/dev', '/proc', '/sys', '/etc']) mkdir(SKELETON + dir)
  const image = openRoot('/lower')
  // a program that finds no /etc has no use for a machine's id
  const etc = openIn(image, 'etc', O.PATH)
  const files = etc < 0 ? FILES.slice(0, -1) : FILES
  for (const name of files) writeFile(`${SKELETON}/etc/${name}`, new Uint8Array(0))
  close(image)
  if (etc >= 0) close(etc)
}

const FILES = ['hosts', 'hostname', 'resolv.conf', 'machine-id']

/** As Docker does, these are mounts: the image's own files stay what they were, and each VM has its own. */
function mountFiles(root: number, spec: StartSpec): void {
  const contents = [spec.hosts, `${spec.hostname}\n`, spec.resolvConf, `${spec.machineId}\n`]
  for (const [i, name] of FILES.entries()) {
    const text = contents[i]!
    const path = `/etc/${name}`
    const found = openIn(root, path, O.PATH)
    if (found >= 0) close(found)
    else if (name === 'machine-id' && !isLink(root, path)) continue
    if (text === '') continue
    writeFile(`/private/${name}`, encodeUtf8(text))
    if (found < 0 && isLink(root, path)) {
      // resolv.conf is often a link to a file that some daemon would make: a mount cannot follow it
      const etc = must('Open /etc', openIn(root, '/etc', O.PATH))
      sys('unlinkat', etc, name, 0)
      close(etc)
    }
    mountIn(root, path, 'file', `/private/${name}`, '', MS.BIND | (spec.readOnly ? SAFE : 0))
  }
}

function isLink(root: number, path: string): boolean {
  const fd = openIn(root, path, O.PATH | O.NOFOLLOW)
  if (fd < 0) return false
  close(fd)
  return true
}

/** An image that brings its own modprobe finds what it looks for. The kernel's own requests do not need this. */
function mountModulesIn(root: number): void {
  const kmod = openIn(root, 'bin/kmod', O.PATH)
  if (kmod < 0) return
  close(kmod)
  mountIn(root, `/lib/modules/${kernelRelease()}`, 'directory', `${MODULES}/${kernelRelease()}`, '', MS.BIND)
}

const WORDS: Record<string, [number, number]> = {
  ro: [MS.RDONLY, 0],
  rw: [0, MS.RDONLY],
  exec: [0, MS.NOEXEC],
  noexec: [MS.NOEXEC, 0],
  suid: [0, MS.NOSUID],
  nosuid: [MS.NOSUID, 0],
  dev: [0, MS.NODEV],
  nodev: [MS.NODEV, 0],
}

function mountTmpfs(root: number, target: string, options: string, readOnly: boolean): void {
  let flags: number = SAFE
  const data: string[] = []
  for (const word of options.split(',').filter((w) => w !== '')) {
    const known = WORDS[word]
    if (known) flags = (flags | known[0]) & ~known[1]
    else data.push(word)
  }
  mountIn(root, target, 'directory', 'tmpfs', 'tmpfs', readOnly ? flags | SAFE : flags, data.join(','))
}

/** The volume's files live in a folder of its file system, so that `lost+found` is not in the program's way. */
function mountVolume(root: number, volume: StartSpec['volumes'][number], readOnly: boolean): void {
  const at = `/${volume.serial}`
  mkdir(at)
  mount(diskBySerial(volume.serial), at, 'ext4', MS.RELATIME)
  const data = `${at}/data`
  if (!list(at).includes('data')) {
    // one step, so that a VM that dies half-way begins again
    mkdir(`${at}/new`)
    fillVolume(root, volume.target, `${at}/new`)
    if (volume.uid !== undefined) {
      const [uid, gid] = volume.uid.split(':').map(Number)
      sys('fchownat', AT_FDCWD, `${at}/new`, uid ?? 0, gid ?? uid ?? 0, 0)
    }
    must(`Name ${data}`, sys('renameat2', AT_FDCWD, `${at}/new`, AT_FDCWD, data, 0))
  }
  mountIn(
    root,
    volume.target,
    'directory',
    data,
    '',
    MS.BIND | (volume.readOnly ? MS.RDONLY : 0) | (readOnly ? SAFE : 0),
  )
}

/** As in Docker: a volume used for the first time begins with what the image has at its place. */
function fillVolume(root: number, target: string, to: string): void {
  const there = openIn(root, target, O.PATH | O.DIRECTORY)
  if (there < 0) return
  const from = `/proc/self/fd/${there}`
  walk(from, true, (entry, file) => {
    if (entry.path === '') {
      sys('fchownat', AT_FDCWD, to, entry.uid, entry.gid, 0)
      sys('fchmodat', AT_FDCWD, to, entry.mode)
    } else {
      makeEntry(to, entry, entry, (fd) => pourFile(file, entry.size, fd))
    }
  })
  close(there)
}

/** Everything the workload could have written is on its disks, and nothing is mounted any more. */
export function dismantleTree(): void {
  sys('sync')
  const lines = mounted().reverse()
  for (const target of lines) {
    if (!(target === TREE || target.startsWith(`${TREE}/`) || MOUNTS.includes(target))) continue
    const result = sys('umount2', target, 0)
    if (result === -E.EBUSY) sys('umount2', target, 2)
    else if (result < 0 && result !== -E.EINVAL) throw new SysError(`Unmount ${target}`, -result)
  }
  sys('sync')
}

function mounted(): string[] {
  // the second field; \040 is a space (proc_pid_mounts(5))
  return readText('/proc/self/mounts')
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').split('\\040').join(' '))
}
