import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { callUnix, until } from '#sys'
import { openLibrary, publish } from '#zosfs'
import { must } from './peer.ts'
import { debianRoots } from './roots.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 7
export const DEPTH = 16
const STORAGE = join(import.meta.dirname, '../src/node/storage/main.ts')

type Server = { name: string; options: string; cpu: () => number }

/** User and system CPU seconds of PID so far. */
function cpuOf(pid: number): number {
  const fields = String(spawnSync('cat', [`/proc/${pid}/stat`]).stdout)
    .split(') ')[1]!
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Starts a program that ends with CHILDREN; gives its process id. */
function start(children: AsyncDisposableStack, file: string, args: string[]): number {
  const child = spawn(file, args, { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  children.defer(async () => {
    child.kill()
    await ended
  })
  return child.pid!
}

/** Publishes ROOT into the home DIR; its digest. */
export async function publishInto(dir: string, root: string): Promise<string> {
  await using library = openLibrary({ home: dir })
  return (await publish(library, `dir:${root}`, 'root')).digest
}

/** The disk of DIGEST, published into the home DIR, served by a storage process of ours that has nothing in memory. */
export async function serveOurs(
  children: AsyncDisposableStack,
  dir: string,
  digest: string,
): Promise<{ ours: Server; bytes: number }> {
  const args = ['--disable-warning=ExperimentalWarning', STORAGE, '--home', dir, '--run', dir]
  const pid = start(children, process.execPath, args)
  const api = join(dir, 'storage.sock')
  await until('the storage process', 20_000, () => callUnix(api, 'GET', '/status').catch(() => undefined))
  const socket = join(dir, 'ours.nbd')
  await callUnix(api, 'PUT', '/exports/x', { body: { socket } })
  const bound = await callUnix<{ hashStart: number }>(api, 'POST', '/exports/x/bind', { body: { digest } })

  // whole MiB of content, so that reads of 1 MiB wrap evenly
  const bytes = Math.floor((bound.hashStart * 4096) / (1 << 20)) * (1 << 20)
  return { ours: { name: 'zos', options: diskOf(bytes, socket, 'x'), cpu: () => cpuOf(pid) }, bytes }
}

const diskOf = (bytes: number, path: string, name = '') =>
  `driver=raw,size=${bytes},file.driver=nbd,file.server.type=unix,file.server.path=${path}${name && `,file.export=${name}`}`

/** The disk of a Debian root with nginx, served by our storage process and as a plain file by nbdkit. */
export async function withServers<T>(
  act: (at: { ours: Server; peer: Server; bytes: number; cold: { seconds: number; cpu: number } }) => Promise<T>,
): Promise<T> {
  const { nginx } = await debianRoots(['nginx'])
  const dir = mkdtempSync(join(tmpdir(), 'zos-nbd-'))
  await using children = new AsyncDisposableStack()
  children.defer(() => rmSync(dir, { recursive: true, force: true }))
  const { ours, bytes } = await serveOurs(children, dir, await publishInto(dir, nginx!))
  // the first time through: chunk files are in the page cache, each is decoded and verified
  const cold = reads(ours, bytes >> 20, 1 << 20, 1 << 20)
  const image = join(dir, 'image')
  must(spawnSync('qemu-img', ['convert', '-O', 'raw', '--image-opts', ours.options, image]), 'qemu-img convert')
  truncateSync(image, bytes)
  must(spawnSync('cat', [image], { stdio: ['ignore', 'ignore', 'pipe'] }), 'cat')
  const peerSocket = join(dir, 'peer.nbd')
  const peerPid = start(children, 'nbdkit', ['-f', '-r', '-U', peerSocket, 'file', image])
  await until('nbdkit', 10_000, () => statSync(peerSocket, { throwIfNoEntry: false }))
  const peer: Server = { name: 'nbdkit file', options: diskOf(bytes, peerSocket), cpu: () => cpuOf(peerPid) }
  return await act({ ours, peer, bytes, cold })
}

/** COUNT reads of SIZE bytes, each STEP after the one before, DEPTH at a time: seconds, and the server's CPU seconds. */
export function reads(server: Server, count: number, size: number, step: number): { seconds: number; cpu: number } {
  const before = server.cpu()
  const { stdout } = spawnSync(
    'qemu-img',
    [
      'bench',
      '-c',
      `${count}`,
      '-d',
      `${DEPTH}`,
      '-s',
      `${size}`,
      '-S',
      `${step}`,
      '-t',
      'none',
      '--image-opts',
      server.options,
    ],
    { encoding: 'utf8' },
  )
  const seconds = /Run completed in ([\d.]+) seconds/.exec(stdout)?.[1]
  if (!seconds) throw new Error(`qemu-img bench on ${server.name}: ${stdout}`)
  return { seconds: Number(seconds), cpu: server.cpu() - before }
}

/** Medians of RUNS in turn, after one round that warms both. */
export function compare(ours: Server, peer: Server, once: (server: Server) => { seconds: number; cpu: number }) {
  const taken = { ours: [] as number[], peer: [] as number[], oursCpu: [] as number[], peerCpu: [] as number[] }
  for (let n = 0; n <= RUNS; n++) {
    const [a, b] = [once(ours), once(peer)]
    if (n === 0) continue
    taken.ours.push(a.seconds)
    taken.peer.push(b.seconds)
    taken.oursCpu.push(a.cpu)
    taken.peerCpu.push(b.cpu)
  }
  return {
    ours: median(taken.ours),
    peer: median(taken.peer),
    oursCpu: median(taken.oursCpu),
    peerCpu: median(taken.peerCpu),
  }
}

const COUNT = 60_000
/** A prime number of blocks: qemu-img wraps at the end, so that the reads are scattered over the whole disk. */
export const STEP = 4096 * 7919

export default {
  name: 'nbd-random',
  claim: '4 KiB reads scattered over the disk of a Debian root, 16 at a time, warm',
  run: () =>
    withServers(async ({ ours, peer, bytes }) => {
      // warm for us is decoded in memory, for the peer in the page cache
      const taken = compare(ours, peer, (server) => reads(server, COUNT, 4096, STEP))
      const [a, b] = [COUNT / taken.ours, COUNT / taken.peer]
      return {
        ours: a,
        peer: b,
        peerName: peer.name,
        unit: 'IOPS',
        better: 'higher' as const,
        must: 0.9,
        notes: {
          'MiB of disk': bytes >> 20,
          'CPU seconds of the server, ours': taken.oursCpu.toFixed(2),
          'CPU seconds of the server, peer': taken.peerCpu.toFixed(2),
        },
      }
    }),
} satisfies Benchmark
