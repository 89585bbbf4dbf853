import { close, E, MS, must, O, open, SysError, sys } from './native.ts'

/** Paths inside a file tree whose links must not lead out of it. */
const RESOLVE_IN_ROOT = 0x10

const how = new Uint8Array(24)
const howView = new DataView(how.buffer)

/** openat2(2) below ROOT, `/` and `..` and links staying inside; gives a descriptor or -errno. */
export function openIn(root: number, path: string, flags: number): number {
  howView.setUint32(0, (flags | O.CLOEXEC) >>> 0, true)
  howView.setUint32(16, RESOLVE_IN_ROOT, true)
  return sys('openat2', root, path === '' ? '.' : path, how, how.length)
}

/** A descriptor (O_PATH) for PATH below ROOT; what is missing is made, the last part as KIND. */
export function ensureIn(root: number, path: string, kind: 'directory' | 'file'): number {
  const found = openIn(root, path, O.PATH)
  if (found >= 0) return found
  if (found !== -E.ENOENT) throw new SysError(`Open ${path}`, -found)
  const parts = path.split('/').filter((p) => p !== '')
  const name = parts.pop()
  // a link that leads nowhere: its target would have to be made, which nobody needs
  if (name === undefined) throw new SysError(`Open ${path}`, E.ENOENT)
  const parent = ensureIn(root, parts.join('/'), 'directory')
  const made = kind === 'directory' ? sys('mkdirat', parent, name, 0o755) : sys('mknodat', parent, name, 0o100644, 0)
  close(parent)
  must(`Make ${path}`, made)
  return must(`Open ${path}`, openIn(root, path, O.PATH))
}

/** Mounts on PATH below the tree open as ROOT. */
export function mountIn(
  root: number,
  path: string,
  kind: 'directory' | 'file',
  source: string,
  type: string,
  flags: number,
  data = '',
): void {
  const target = ensureIn(root, path, kind)
  try {
    const asked = data === '' ? '' : ` with "${data}"`
    must(
      `Mount ${type || source} on ${path}${asked}`,
      sys('mount', source, `/proc/self/fd/${target}`, type, flags, data),
    )
  } finally {
    close(target)
  }
  // a bind mount takes its flags only when it is mounted again
  if (flags & MS.BIND && flags & ~(MS.BIND | MS.REC)) {
    const mounted = must(`Open ${path}`, openIn(root, path, O.PATH))
    const again = sys('mount', null, `/proc/self/fd/${mounted}`, null, flags | MS.REMOUNT, null)
    close(mounted)
    must(`Mount ${path} again`, again)
  }
}

export const openRoot = (path: string): number => must(`Open ${path}`, open(path, O.PATH | O.DIRECTORY))
