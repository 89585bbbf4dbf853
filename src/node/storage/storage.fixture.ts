import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { callUnix, programFlags, until } from '#sys'
import { loadManifest, openLibrary, type Published, publish } from '#zosfs'

export const MAIN = join(import.meta.dirname, 'main.ts')
export let top: string
export let published: Published

/** A tree whose command is a shell script, so that its closure has an interpreter. */
before(async () => {
  top = mkdtempSync(join(tmpdir(), 'zos-storage-'))
  const tree = join(top, 'tree')
  mkdirSync(join(tree, 'bin'), { recursive: true })
  cpSync('/bin/busybox', join(tree, 'bin/busybox'))
  cpSync('/bin/busybox', join(tree, 'bin/sh'))
  writeFileSync(join(tree, 'bin/go'), '#!/bin/sh\necho hello\n')
  chmodSync(join(tree, 'bin/go'), 0o755)
  for (let n = 0; n < 20; n++) writeFileSync(join(tree, `data-${n}`), Buffer.alloc(200_000 + n, `${n}`))
  await using library = openLibrary({ home: join(top, 'origin'), hub: `dir:${join(top, 'hub')}` })
  published = await publish(library, `dir:${tree}`, 'web')
})
after(() => rmSync(top, { recursive: true, force: true }))

let nodes = 0
type Node = AsyncDisposable & {
  home: string
  run: string
  child: ChildProcess
  log: () => string
  call: <T = Record<string, unknown>>(method: string, path: string, body?: unknown) => Promise<T>
  start: () => Promise<void>
}

/** A storage process with a home and hub of its own. */
export async function node(options: { hub?: string } = {}): Promise<Node> {
  const home = join(top, `home${nodes}`)
  const runDir = join(top, `run${nodes++}`)
  let log = ''
  const it = {
    home,
    run: runDir,
    child: undefined as unknown as ChildProcess,
    log: () => log,
    call: <T>(method: string, path: string, body?: unknown) =>
      callUnix<T>(join(runDir, 'storage.sock'), method, path, body === undefined ? {} : { body }),
    async start() {
      const args = [MAIN, '--home', home, '--run', runDir, '--hub', options.hub ?? `dir:${join(top, 'hub')}`]
      it.child = spawn(process.execPath, [...programFlags(), ...args], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      it.child.stderr!.on('data', (d: Buffer) => (log += d))
      await until('the storage process', 60_000, () => it.call('GET', '/status').catch(() => undefined))
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => it.child.once('exit', resolve))
      if (it.child.exitCode === null && it.child.signalCode === null && it.child.kill('SIGTERM')) await ended
    },
  }
  try {
    await it.start()
  } catch (error) {
    await it[Symbol.asyncDispose]()
    throw error
  }
  return it
}

export const put = async (n: Node, id: string) => {
  await n.call('PUT', `/exports/${id}`, { socket: join(n.run, `${id}.nbd`) })
  return `driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=${join(n.run, `${id}.nbd`)},file.export=${id},file.reconnect-delay=30`
}
export const chunkFile = (root: string, id: string) => join(root, id.slice(0, 2), id.slice(2))
export const flip = (file: string) => {
  const bytes = readFileSync(file)
  bytes[bytes.length >> 1]! ^= 1
  writeFileSync(file, bytes)
}
/** Ids of the chunks of the file at PATH. */
export async function idsOf(path: string): Promise<string[]> {
  await using library = openLibrary({ home: join(top, 'origin'), hub: `dir:${join(top, 'hub')}` })
  const manifest = await loadManifest(library.store, published.digest)
  const name = path.split('/').at(-1)
  const entry = manifest.entries.find((e) => e.name.toString() === name)!
  if (entry.type !== 'file' || entry.content.kind === 'empty') throw new Error(`"${path}" has no chunks`)
  if (entry.content.kind === 'packed') return [manifest.packs[entry.content.pack]!.id.toString('hex')]
  return entry.content.chunks.filter((id) => id !== undefined).map((id) => id.toString('hex'))
}
