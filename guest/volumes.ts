import type { StartSpec } from '../src/vm/agent/types.ts'
import { makeEntry } from './copyin.ts'
import { pourFile, walk } from './copyout.ts'
import { diskBySerial } from './disks.ts'
import { AT_FDCWD, close, list, MS, mkdir, mount, must, O, open, sys } from './native.ts'
import { mountIn, openIn } from './root.ts'

const SAFE = MS.NOSUID | MS.NODEV | MS.NOEXEC

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

export function mountTmpfs(root: number, target: string, options: string, readOnly: boolean): void {
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
export function mountVolume(root: number, volume: StartSpec['volumes'][number], readOnly: boolean): void {
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

const EXT4_IOC_RESIZE_FS = 0x40086610
const BLOCK = 4096

/** Makes the file system of the volume SERIAL fill SIZE bytes of its disk, while it is in use. */
export function growVolume(serial: string, size: number): void {
  const fd = must(`Open volume ${serial}`, open(`/${serial}/data`, O.RDONLY | O.DIRECTORY))
  const blocks = new Uint8Array(8)
  new DataView(blocks.buffer).setUint32(0, Math.floor(size / BLOCK), true)
  must(`Grow volume ${serial} to ${size} bytes`, sys('ioctl', fd, EXT4_IOC_RESIZE_FS, blocks))
  close(fd)
}
