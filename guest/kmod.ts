import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { diskBySerial, openVerity } from './disks.ts'
import { close, E, list, MS, mkdir, mount, O, open, readText, sys, writeFile } from './native.ts'

/** The kernel's modules: a file system that all VMs share, verified by dm-verity (made by src/vm/modules-disk.ts). */
export const MODULES = '/modules'

/** FACTS of the initramfs: data blocks, start of the hash tree, root hash. At boot, so that clones have it mounted. */
export function mountModules(facts: string): void {
  const [dataBlocks, hashStart, rootHash = ''] = facts.split(' ')
  const verified = { dataBlocks: Number(dataBlocks), hashStart: Number(hashStart), rootHash }
  mkdir(MODULES)
  const device = openVerity('modules', diskBySerial('modules'), verified)
  mount(device, MODULES, 'erofs', MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC)
  // whatever file system, protocol or device a program asks for: this very binary loads its module
  writeFile('/proc/sys/kernel/modprobe', encodeUtf8('/proc/1/exe'))
}

/** `uname -r`: the name of the only folder there. */
export const kernelRelease = (): string => list(MODULES)[0]!

/**
 * In a process of its own that the kernel starts (/proc/sys/kernel/modprobe) with what it lacks: a module's name or one
 * of its aliases. True when it is there now.
 */
export function loadModule(wanted: string): boolean {
  const dir = `${MODULES}/${kernelRelease()}`
  const index = readText(`${dir}/zinit.index`)
  let loaded = false
  for (const line of moduleLines(index, wanted)) {
    // the last one depends on nothing
    for (const path of line.split(' ').slice(1).reverse()) loaded = insert(`${dir}/${path}`)
  }
  return loaded
}

/** "module path dependency…", of each module WANTED names. */
function moduleLines(index: string, wanted: string): string[] {
  const own = linesOf(index, wanted.split('-').join('_'))
  if (own.some((line) => line.includes('/'))) return own
  let aliases = linesOf(index, wanted)
  // those with a `*` are at the end, after an empty line
  if (aliases.length === 0)
    aliases = index
      .slice(index.indexOf('\n\n') + 2)
      .split('\n')
      .filter((line) => matches(line.slice(0, line.indexOf(' ')), wanted))
  return aliases.flatMap((line) => linesOf(index, line.slice(line.indexOf(' ') + 1)))
}

function linesOf(index: string, first: string): string[] {
  const lines: string[] = []
  const start = `\n${first} `
  for (let at = index.indexOf(start); at >= 0; at = index.indexOf(start, at + 1))
    lines.push(index.slice(at + 1, index.indexOf('\n', at + 1)))
  return lines
}

function matches(pattern: string, text: string): boolean {
  const [head = '', ...rest] = pattern.split('*')
  if (!text.startsWith(head)) return false
  let at = head.length
  for (const part of rest.slice(0, -1)) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  const tail = rest.at(-1) ?? ''
  return text.length - at >= tail.length && text.endsWith(tail)
}

function insert(path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1, -'.ko'.length)
  const known = open(`/sys/module/${name.split('-').join('_')}/initstate`, O.RDONLY)
  if (known >= 0) {
    close(known)
    return true
  }
  const fd = open(path, O.RDONLY)
  if (fd < 0) return false
  const result = sys('finit_module', fd, '', 0)
  close(fd)
  return result >= 0 || result === -E.EEXIST
}
