import type { StartSpec } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { DEVICES } from './devices.ts'
import { diskBySerial, openVerity } from './disks.ts'
import { FILES, mountFile, replaceLink, writeFiles } from './etc.ts'
import { Failure } from './failure.ts'
import { kernelRelease, MODULES } from './kmod.ts'
import { close, E, MS, mkdir, mount, O, readText, SysError, sys, writeFile } from './native.ts'
import { ensureIn, mountIn, openIn, openRoot } from './root.ts'
import { fileSystem } from './statfs.ts'
import { mountTmpfs, mountVolume } from './volumes.ts'

/** Where zinit's own mount namespace has the workload's tree; made by a helper process, since any disk may be slow. */
export const TREE = '/workload'
const SAFE = MS.NOSUID | MS.NODEV | MS.NOEXEC

/** In order of mounting; unmounted the other way round. */
const MOUNTS = ['/lower', '/upper', '/private', ...Array.from({ length: 6 }, (_, i) => `/vol${i}`)]

/** The tree of an image, with all in it that is the same whichever workload is made from it. */
export function makeTree(root: StartSpec['root'], readOnly: boolean): void {
  mountRoot(root, readOnly)
  const tree = openRoot(TREE)
  try {
    mountIn(tree, '/dev', 'directory', DEVICES, '', MS.MOVE)
    for (const name of FILES) mountFile(tree, name, readOnly)
    mountModulesIn(tree)
  } finally {
    close(tree)
  }
}

/** What SPEC asks for beyond its image's tree. */
export function addToTree(spec: StartSpec): void {
  const root = openRoot(TREE)
  try {
    for (const name of writeFiles(spec)) replaceLink(root, name, spec)
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

function mountRoot(root: StartSpec['root'], readOnly: boolean): void {
  const device = openVerity('root', diskBySerial('root'), root)
  for (const dir of ['/lower', '/upper', '/private']) mkdir(dir)
  mount(device, '/lower', 'erofs', MS.RDONLY | MS.RELATIME)
  mount('tmpfs', '/private', 'tmpfs', SAFE, 'mode=755,size=1m')
  makeSkeleton()
  // read-only: the upper layer is memory that holds nothing but mount points, and is closed before the program runs
  if (readOnly) mount('tmpfs', '/upper', 'tmpfs', SAFE, 'mode=755,size=1m')
  else mount(diskBySerial('upper'), '/upper', 'ext4', MS.RELATIME)
  mkdir('/upper/data')
  mkdir('/upper/work')
  const layers = `lowerdir=/lower:${SKELETON},upperdir=/upper/data,workdir=/upper/work`
  mount('overlay', TREE, 'overlay', MS.RELATIME, layers)
}

/**
 * Of the writable layer's blocks only so many are left to use: the kernel keeps the others for itself (ext4's
 * reserved_clusters, Documentation/ABI/testing/sysfs-fs-ext4), as `df` shows. So a layer mounted before anybody said what
 * runs in it is limited like any other.
 */
export function limitUpper({ diskLimit, readOnly }: StartSpec): void {
  if (diskLimit === undefined || readOnly) return
  const found = fileSystem('/upper')
  if (!found) throw new Failure('no-layer', 'Limit the writable layer: it is not there')
  const reserved = Math.max(0, found.blocks - Math.floor(diskLimit / found.blockSize))
  const name = diskBySerial('upper').slice('/dev/'.length)
  writeFile(`/sys/fs/ext4/${name}/reserved_clusters`, encodeUtf8(`${reserved}\n`))
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

/** Brings FILES of the tree into memory, verified on the way, up to a limit in bytes. */
export function readAhead(files: readonly string[]): void {
  const tree = openRoot(TREE)
  const piece = new Uint8Array(65536)
  let room = AHEAD
  for (const file of files) {
    const fd = openIn(tree, file, O.RDONLY | O.NONBLOCK)
    if (fd < 0) continue
    for (let got = 1; got > 0 && room > 0; room -= got) got = sys('read', fd, piece, piece.length)
    close(fd)
  }
  close(tree)
}

/** What a template may hold of an image's files, a part of every such template's size. */
const AHEAD = 48 << 20

/** An image that brings its own modprobe finds what it looks for. The kernel's own requests do not need this. */
function mountModulesIn(root: number): void {
  const kmod = openIn(root, 'bin/kmod', O.PATH)
  if (kmod < 0) return
  close(kmod)
  mountIn(root, `/lib/modules/${kernelRelease()}`, 'directory', `${MODULES}/${kernelRelease()}`, '', MS.BIND)
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
