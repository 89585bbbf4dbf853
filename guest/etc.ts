import type { StartSpec } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { close, MS, must, O, open, readBytes, sys, writeAll, writeFile } from './native.ts'
import { mountIn, openIn } from './root.ts'

/** Below /etc: what Docker writes anew for each container. */
export const FILES = ['hosts', 'hostname', 'resolv.conf', 'machine-id']

const SAFE = MS.NOSUID | MS.NODEV | MS.NOEXEC
const PRIVATE = '/private'
const PRIVATE_LIMIT = 65536

/**
 * As Docker does, these are mounts: the image's own files stay what they were, and each VM has its own. Until it is told
 * otherwise a workload finds in them what the image has.
 */
export function mountFile(tree: number, name: string, readOnly: boolean): void {
  const path = `/etc/${name}`
  const found = openIn(tree, path, O.RDONLY | O.NONBLOCK)
  // a link that leads nowhere may have to be replaced: see replaceLink
  if (found < 0 && isLink(tree, path)) return
  const text = found < 0 ? new Uint8Array(0) : readBytes(`/proc/self/fd/${found}`, PRIVATE_LIMIT)
  writeFile(`${PRIVATE}/${name}`, text)
  if (found < 0) return
  close(found)
  bindFile(tree, name, readOnly)
}

function bindFile(tree: number, name: string, readOnly: boolean): void {
  mountIn(tree, `/etc/${name}`, 'file', `${PRIVATE}/${name}`, '', MS.BIND | (readOnly ? SAFE : 0))
}

const contentsOf = (spec: StartSpec): string[] => [
  spec.hosts,
  `${spec.hostname}\n`,
  spec.resolvConf,
  `${spec.machineId}\n`,
]

/** The workload's own words into the files mounted before; gives the names of those that could not be mounted. */
export function writeFiles(spec: StartSpec): string[] {
  const contents = contentsOf(spec)
  return FILES.filter((name, i) => {
    if (contents[i] === '') return false
    const fd = open(`${PRIVATE}/${name}`, O.WRONLY | O.TRUNC)
    if (fd < 0) return true
    try {
      writeAll(fd, encodeUtf8(contents[i]!))
    } finally {
      close(fd)
    }
    return false
  })
}

/** resolv.conf is often a link to a file that some daemon would make: a mount cannot follow it. */
export function replaceLink(tree: number, name: string, spec: StartSpec): void {
  writeFile(`${PRIVATE}/${name}`, encodeUtf8(contentsOf(spec)[FILES.indexOf(name)]!))
  const etc = must('Open /etc', openIn(tree, '/etc', O.PATH))
  sys('unlinkat', etc, name, 0)
  close(etc)
  bindFile(tree, name, spec.readOnly)
}

function isLink(root: number, path: string): boolean {
  const fd = openIn(root, path, O.PATH | O.NOFOLLOW)
  if (fd < 0) return false
  close(fd)
  return true
}
