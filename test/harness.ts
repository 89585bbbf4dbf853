import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { keepTemplates, lendTemplates } from './templates.ts'

export const ROOT = resolve(import.meta.dirname, '..')

export type Said = { code: number | null; out: Buffer; text: string; err: string; ms: number }

/** A node of its own for one test file: temporary home and hub, driven only through ./zos, as a user would. */
export type Node = Disposable & {
  work: string
  home: string
  hub: string
  zos: (args: string[], options?: { input?: Uint8Array | string; env?: NodeJS.ProcessEnv; timeout?: number }) => Said
  /** Like zos, but this process goes on meanwhile: it may be the other side. */
  zosLater: (args: string[], options?: { timeout?: number }) => Promise<Said>
  /** Like zos, but throws unless the exit code is 0. */
  ok: (args: string[], options?: { input?: Uint8Array | string; timeout?: number }) => Said
  json: <T>(args: string[]) => T
}

export function startNode(): Node {
  const work = mkdtempSync(join(tmpdir(), 'zos-test-'))
  const home = join(work, 'home')
  const hub = join(work, 'hub')
  const templates = [join(home, 'templates'), join(home, 'grid/templates')]
  templates.forEach(lendTemplates)
  const environment = { ...process.env, ZOS_HOME: home, ZOS_HUB: `dir:${hub}` }
  const zos: Node['zos'] = (args, options = {}) => {
    const begun = performance.now()
    const r: SpawnSyncReturns<Buffer> = spawnSync(join(ROOT, 'zos'), args, {
      cwd: work,
      input: options.input ?? '',
      timeout: (options.timeout ?? 120) * 1000,
      maxBuffer: 1 << 28,
      env: { ...environment, ...options.env },
    })
    return {
      code: r.status,
      out: r.stdout,
      text: String(r.stdout),
      err: String(r.stderr),
      ms: performance.now() - begun,
    }
  }
  const zosLater: Node['zosLater'] = async (args, options = {}) => {
    const begun = performance.now()
    const timeout = (options.timeout ?? 120) * 1000
    const child = spawn(join(ROOT, 'zos'), args, {
      cwd: work,
      timeout,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
    })
    const [out, err] = [[], []] as Buffer[][]
    child.stdout.on('data', (bytes: Buffer) => out!.push(bytes))
    child.stderr.on('data', (bytes: Buffer) => err!.push(bytes))
    const [code] = (await once(child, 'close')) as [number | null]
    const whole = Buffer.concat(out!)
    return { code, out: whole, text: String(whole), err: String(Buffer.concat(err!)), ms: performance.now() - begun }
  }
  const ok: Node['ok'] = (args, options) => {
    const said = zos(args, options)
    if (said.code !== 0) throw new Error(`zos ${args.join(' ')}: exit ${said.code}: ${said.err.slice(-600)}`)
    return said
  }
  return {
    work,
    home,
    hub,
    zos,
    zosLater,
    ok,
    json: (args) => JSON.parse(ok(args).text),
    [Symbol.dispose]() {
      zos(['down'], { timeout: 60 })
      templates.forEach(keepTemplates)
      rmSync(work, { recursive: true, force: true })
    },
  }
}

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

/** Polls until ASK gives something truthy; the dearer it is to ask, the less often: what is waited for needs the CPU. */
export async function until<T>(what: string, seconds: number, ask: () => T | Promise<T>): Promise<NonNullable<T>> {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const begun = performance.now()
    const value = await ask()
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`)
    await new Promise((r) => setTimeout(r, Math.min(Math.max(100, 2 * (performance.now() - begun)), 1000)))
  }
}

const BUSYBOX = '/bin/busybox'

/** A root of one static program and what is in FILES (path → contents). */
export function busyboxTree(dir: string, files: Record<string, string | Uint8Array> = {}): string {
  if (!existsSync(BUSYBOX)) throw new Error('these tests need busybox-static: ./zos setup')
  for (const d of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'root']) mkdirSync(join(dir, d), { recursive: true })
  chmodSync(join(dir, 'tmp'), 0o1777)
  copyFileSync(BUSYBOX, join(dir, 'bin/busybox'))
  chmodSync(join(dir, 'bin/busybox'), 0o755)
  const applets = String(spawnSync(BUSYBOX, ['--list']).stdout)
    .trim()
    .split('\n')
  for (const a of applets) if (a !== 'busybox') symlinkSync('busybox', join(dir, 'bin', a))
  writeFileSync(join(dir, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nweb:x:1234:1234::/:/bin/sh\n')
  writeFileSync(join(dir, 'etc/group'), 'root:x:0:\nweb:x:1234:\nextra:x:77:web\n')
  for (const [path, contents] of Object.entries(files)) {
    mkdirSync(join(dir, path, '..'), { recursive: true })
    writeFileSync(join(dir, path), contents)
  }
  return dir
}

/** A docker-archive of DIR with CONFIG (OCI image config's `config`); gives the source string. */
export function dockerArchive(file: string, dir: string, config: Record<string, unknown> = {}): string {
  const work = mkdtempSync(`${file}.`)
  const layer = join(work, 'layer.tar')
  const r = spawnSync('tar', ['--numeric-owner', '--owner=0', '--group=0', '--sort=name', '-cf', layer, '-C', dir, '.'])
  if (r.status !== 0) throw new Error(`tar: ${r.stderr}`)
  const text = JSON.stringify({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/bin'], ...config },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(readFileSync(layer))}`] },
  })
  const name = `${sha256(text)}.json`
  writeFileSync(join(work, name), text)
  writeFileSync(
    join(work, 'manifest.json'),
    JSON.stringify([{ Config: name, RepoTags: ['test:1'], Layers: ['layer.tar'] }]),
  )
  const t = spawnSync('tar', ['-cf', file, '-C', work, 'manifest.json', name, 'layer.tar'])
  if (t.status !== 0) throw new Error(`tar: ${t.stderr}`)
  rmSync(work, { recursive: true })
  return `docker-archive:${file}`
}

/** All regular files below DIR. */
export function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath, e.name))
}

/** Ids of processes whose command line holds TEXT. */
export const processesWith = (text: string): number[] =>
  readdirSync('/proc')
    .filter((p) => /^\d+$/.test(p) && Number(p) !== process.pid)
    .filter((p) => {
      try {
        return readFileSync(`/proc/${p}/cmdline`, 'latin1').includes(text)
      } catch {
        return false
      }
    })
    .map(Number)
