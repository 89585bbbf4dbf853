import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'
import { alive, callUnix, programFlags, sleep, until } from '#sys'
import type { DiskBinding, Storage } from '../compute/parts.ts'
import type { ImageConfig } from '../compute/spec.ts'
import { holderOf } from '../lock.ts'
import { NO_START, STORAGE_LOCK } from '../storage/place.ts'

type Export = { socket: string; uid?: number | undefined; digest?: string }
type Bound = DiskBinding & { config: ImageConfig }

const ENTRY = join(import.meta.dirname, '../storage/main.ts')
const SUPERVISE_EVERY = 200
/** How long a plane may take to be there. Milliseconds. */
const ANSWER = 20_000
/** Between two that end at once. Milliseconds. */
const RELAUNCH = 1000
/** How long the end waits for a plane that is just being started anew. Milliseconds. */
const REVIVAL = 2000

/** What the log at PATH ends with, without time and name. */
const lastWords = (path: string): string =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .at(-1)!
    .replace(/^\S+ storage: /, '')

export type StoragePlane = Storage & {
  pid: () => number | null
  call: <T>(method: string, path: string, body?: unknown, timeout?: number) => Promise<T>
  createExport: (id: string, socket: string) => Promise<void>
  /** Who may open the export's socket: said again whenever the plane makes it anew. */
  ownExport: (id: string, uid: number | undefined) => void
  /** Goes up each time the plane starts anew: connections made before are waiting to reconnect. */
  epoch: () => number
  removeExport: (id: string) => Promise<void>
  /**
   * Removes what an earlier daemon had made and this one did not take up, as its machines are gone: exports but those in
   * KEEP, and sockets in DIR that a killed plane left.
   */
  removeOthers: (dir: string, keep: readonly string[]) => Promise<void>
  stop: () => Promise<void>
}

/**
 * Keeps the storage plane running and told: it is a process of its own that outlives this daemon; whichever of the two
 * starts anew, all exports are posted again, and QEMU waits meanwhile.
 */
export async function openStorage(at: {
  home: string
  run: string
  hub: string | undefined
  /** Somebody else starts the plane: it is waited for, and told everything again when it is a new one. */
  elsewhere?: boolean
  log: (line: string) => void
}): Promise<StoragePlane> {
  const socket = join(at.run, 'storage.sock')
  const exports = new Map<string, Export>()
  const configs = new Map<string, ImageConfig>()
  let pid: number | null = null
  let stopping = false
  let epoch = 0

  const call = <T>(method: string, path: string, body?: unknown, timeout = 120_000) =>
    callUnix<T>(socket, method, path, body === undefined ? { timeout } : { body, timeout })

  const running = async (): Promise<number | null> => {
    try {
      return (await call<{ pid: number }>('GET', '/status', undefined, 5000)).pid
    } catch {
      return null
    }
  }

  let child: ChildProcess | undefined
  let launchedAt = Number.NEGATIVE_INFINITY
  const launch = (): void => {
    launchedAt = performance.now()
    const args = [...programFlags(), ENTRY, '--home', at.home, '--run', at.run, ...(at.hub ? ['--hub', at.hub] : [])]
    const log = openSync(join(at.home, 'storage.log'), 'a', 0o600)
    child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log], cwd: '/' })
    closeSync(log)
    child.unref()
    child.on('error', (error) => at.log(`storage plane: ${error.message}`))
  }

  const lock = join(at.home, STORAGE_LOCK)
  /** One that does not answer, as while it is stopped or very busy, is waited for: a second one is never started. */
  const answering = async (): Promise<number | null> => {
    if (child?.exitCode === NO_START) {
      child = undefined
      throw new ZosError(`Start the storage plane: ${lastWords(join(at.home, 'storage.log'))}`, {
        code: 'storage-start',
      })
    }
    const launched = child && child.exitCode === null && child.signalCode === null
    const again = performance.now() - launchedAt > RELAUNCH
    if (!at.elsewhere && !launched && again && holderOf(lock) === undefined) launch()
    return running()
  }

  const start = async (): Promise<void> => {
    pid = await until('the storage plane to answer', ANSWER, answering, 50).catch((cause: unknown) => {
      if (codeOf(cause) === 'storage-start') throw cause
      const silent = holderOf(lock)
      const who = silent === undefined ? 'it ended at once' : `process ${silent} does not answer; end that, or wait`
      throw new ZosError(`Wait for the storage plane: not there within ${ANSWER / 1000} s: ${who}; see storage.log`, {
        code: 'storage-silent',
        kind: 'node',
        cause,
      })
    })
    epoch++
    for (const [id, e] of exports) await post(id, e)
  }

  const post = async (id: string, e: Export): Promise<void> => {
    await call('PUT', `/exports/${id}`, { socket: e.socket, uid: e.uid })
    if (e.digest) await call('POST', `/exports/${id}/bind`, { digest: e.digest })
  }

  pid = await running()
  if (pid === null) await start()
  let reviving: Promise<void> | undefined
  const supervise = setInterval(() => {
    if (stopping || reviving || (pid !== null && alive(pid))) return
    at.log('storage plane ended: starting it again')
    reviving = start()
      .catch((error: unknown) => at.log(`storage plane: ${reasonOf(error)}`))
      .finally(() => {
        reviving = undefined
      })
  }, SUPERVISE_EVERY)
  supervise.unref()

  /** A call that finds the plane gone waits for its successor instead of failing. */
  const steady = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    for (const end = performance.now() + ANSWER; ; ) {
      try {
        return await call<T>(method, path, body)
      } catch (error) {
        if (performance.now() > end || !/^(ECONNREFUSED|ENOENT|ECONNRESET|EPIPE)$/.test(codeOf(error))) throw error
        await sleep(100)
      }
    }
  }

  return {
    pid: () => pid,
    call: (method, path, body, timeout) => (timeout ? call(method, path, body, timeout) : steady(method, path, body)),
    async createExport(id, path) {
      exports.set(id, { socket: path })
      await steady('PUT', `/exports/${id}`, { socket: path })
    },
    ownExport(id, uid) {
      const e = exports.get(id)
      if (e) e.uid = uid
    },
    epoch: () => epoch,
    async removeExport(id) {
      const path = exports.get(id)?.socket
      exports.delete(id)
      await steady('DELETE', `/exports/${id}`)
      // a plane that was killed meanwhile knows neither the export nor its socket
      if (path) rmSync(path, { force: true })
    },
    async removeOthers(dir, keep) {
      const known = Object.keys(await steady<Record<string, unknown>>('GET', '/exports'))
      const others = known.filter((id) => !exports.has(id) && !keep.includes(id))
      await Promise.all(others.map((id) => steady('DELETE', `/exports/${id}`)))
      const sockets = new Set([...exports.values()].map((e) => e.socket).concat(keep.map((id) => join(dir, id))))
      for (const name of readdirSync(dir)) if (!sockets.has(join(dir, name))) rmSync(join(dir, name), { force: true })
    },
    async image(digest) {
      const known = configs.get(digest)
      if (known) return known
      const { config } = await steady<{ config: ImageConfig }>('GET', `/images/${digest}`)
      configs.set(digest, config)
      return config
    },
    async bind(id, digest) {
      const e = exports.get(id)
      if (e) e.digest = digest
      const { root, dataBlocks, hashStart } = await steady<Bound>('POST', `/exports/${id}/bind`, { digest })
      return { root, dataBlocks, hashStart }
    },
    check: (id, command) => steady('POST', `/exports/${id}/check`, command),
    ready: (id) => steady('POST', `/exports/${id}/ready`),
    async stop() {
      stopping = true
      clearInterval(supervise)
      await Promise.race([reviving, sleep(REVIVAL)])
      if (at.elsewhere) return
      if (pid === null || !alive(pid)) return
      process.kill(pid, 'SIGTERM')
      const ending = pid
      await until('the storage plane to end', 10_000, () => !alive(ending)).catch(() => process.kill(ending, 'SIGKILL'))
    },
  }
}
