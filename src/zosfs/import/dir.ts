import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs'
import { codeOf, reasonOf, ZosError } from '#codec'
import { readXattrs } from '#sys'
import { PACKED } from '../types.ts'
import { fileWriter } from './file_writer.ts'
import type { Sink } from './sink.ts'
import { type Directory, emptyTree, type Meta, type Node, type Tree } from './tree.ts'

const SLASH = Buffer.from('/')
const NS = 1_000_000_000n

type Facts = ReturnType<typeof factsOf>
const factsOf = (path: Buffer) => lstatSync(path, { bigint: true })

function metaOf(path: Buffer, facts: Facts): Meta {
  const nanoseconds = ((facts.mtimeNs % NS) + NS) % NS
  return {
    mode: Number(facts.mode) & 0o7777,
    uid: Number(facts.uid),
    gid: Number(facts.gid),
    mtime: { seconds: (facts.mtimeNs - nanoseconds) / NS, nanoseconds: Number(nanoseconds) },
    xattrs: readXattrs(path).sort((a, b) => a.name.compare(b.name)),
  }
}

/** A small file in one go: four trips through the thread pool would take longer than the reading. */
function readSmall(path: Buffer, size: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.allocUnsafe(size)
    let at = 0
    for (let got = -1; at < size && got !== 0; at += got) got = readSync(file, bytes, at, size - at, at)
    return bytes.subarray(0, at)
  } finally {
    closeSync(file)
  }
}

/** Everything below the directory PATH, as it is: nothing is left out, no symbolic link is followed. */
export async function importDirectory(path: string, sink: Sink, onFile: () => void = () => {}): Promise<Tree> {
  const tree = emptyTree()
  /** Inodes with more than one name, by device and number. */
  const linked = new Map<string, Node>()

  const fileOf = async (meta: Meta, file: Buffer, size: number): Promise<Node> => {
    if (size > PACKED) return { meta, type: 'file', data: await sink.putFile(file, size) }
    const writer = fileWriter(sink, size, file.toString())
    if (size > 0) await writer.data(readSmall(file, size))
    return { meta, type: 'file', data: await writer.finish() }
  }

  const shapeOf = async (file: Buffer, facts: Facts): Promise<Node> => {
    const meta = metaOf(file, facts)
    if (facts.isFile()) return fileOf(meta, file, Number(facts.size))
    if (facts.isSymbolicLink()) return { meta, type: 'symlink', target: readlinkSync(file, { encoding: 'buffer' }) }
    if (facts.isFIFO()) return { meta, type: 'fifo' }
    if (facts.isSocket()) return { meta, type: 'socket' }
    // Linux' dev_t as stat(2) gives it (glibc gnu_dev_major, gnu_dev_minor)
    const device = facts.rdev
    return {
      meta,
      type: facts.isBlockDevice() ? 'block' : 'character',
      major: Number((device >> 8n) & 0xfffn),
      minor: Number((device & 0xffn) | ((device >> 12n) & 0xfff00n)),
    }
  }

  const fill = async (directory: Directory, at: Buffer): Promise<void> => {
    for (const name of readdirSync(at, { encoding: 'buffer' })) {
      const file = Buffer.concat([at, SLASH, name])
      const facts = factsOf(file)
      let node: Node
      if (facts.isDirectory()) {
        node = { meta: metaOf(file, facts), type: 'directory', children: new Map() }
        await fill(node, file)
      } else {
        const key = `${facts.dev}:${facts.ino}`
        node = linked.get(key) ?? (await shapeOf(file, facts))
        if (facts.nlink > 1n) linked.set(key, node)
      }
      directory.children.set(name.toString('latin1'), { node, layer: 0 })
      onFile()
    }
  }

  try {
    const facts = statSync(path, { throwIfNoEntry: false })
    if (!facts?.isDirectory()) throw new Error(facts ? 'it is no folder' : 'there is no such folder')
    const at = Buffer.from(path === '/' ? '/.' : `${path}/.`) // a symbolic link given by name is meant as its target
    tree.root.meta = metaOf(at, factsOf(at))
    tree.explicitRoot = true
    await fill(tree.root, Buffer.from(path))
  } catch (error) {
    if (error instanceof ZosError || (error as Error).name === 'AbortError') throw error
    const gone = codeOf(error) === 'ENOENT'
    throw new ZosError(
      `Import "dir:${path}": ${gone ? `${reasonOf(error)}; did it change meanwhile?` : reasonOf(error)}`,
      {
        code: 'source-unreadable',
        cause: error,
      },
    )
  }
  return tree
}
