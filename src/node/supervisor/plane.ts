import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { programFlags, sleep } from '#sys'

export type PlaneName = 'provision' | 'storage' | 'compute' | 'network'

export type PlaneSpec = {
  name: PlaneName
  /** Its program and arguments, run by this very Node. */
  entry: string
  args: string[]
  /** In an empty network namespace, from its first instruction on and with all its threads. */
  isolated: boolean
  /** For Node, besides those of all programs of ours. */
  flags?: readonly string[]
  /** Besides this process's own environment. */
  environment?: Readonly<Record<string, string>>
}

/** A plane kept running. */
export type Plane = {
  name: PlaneName
  pid: () => number | null
  restarts: () => number
  /** SIGTERM, then SIGKILL after GRACE milliseconds. */
  stop: (grace: number) => Promise<void>
}

/** Milliseconds before a plane that ended starts again, doubled while it keeps ending at once. */
const FIRST_DELAY = 100
const LONGEST_DELAY = 10_000
const HEALTHY = 10_000
/** A plane's log is set aside once at this size. */
const LOG_LIMIT = 8 << 20

/**
 * Words in front of a plane's command: it dies with its supervisor, however that ends, and as the case may be has no
 * network. Both by util-linux, which replaces itself by the plane: unshare(2) from within would leave threads that Node
 * had started before in the old namespace.
 */
function prefix(isolated: boolean): string[] {
  const net = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-current-user', '--net']
  return ['setpriv', '--pdeathsig', 'KILL', '--', ...(isolated ? ['unshare', ...net, '--'] : [])]
}

function openLog(dir: string, name: string): number {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const path = join(dir, `${name}.log`)
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_LIMIT) renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}

/** Starts a plane and starts it again whenever it ends. */
export function keepPlane(spec: PlaneSpec, at: { home: string; log: (line: string) => void }): Plane {
  let child: ChildProcess | undefined
  let restarts = 0
  let delay = FIRST_DELAY
  let timer: NodeJS.Timeout | undefined
  let stopping = false

  const start = () => {
    const log = openLog(join(at.home, 'log'), spec.name)
    const node = [process.execPath, ...programFlags(), ...(spec.flags ?? [])]
    const [file, ...args] = [...prefix(spec.isolated), ...node, spec.entry, ...spec.args]
    const begun = Date.now()
    const started = spawn(file!, args, {
      stdio: ['ignore', log, log],
      cwd: '/',
      // what a terminal tells its foreground is for the supervisor, which ends them in their order
      detached: true,
      env: { ...process.env, ...spec.environment, ZOS_HOME: at.home },
    })
    closeSync(log)
    child = started
    let over = false
    const ended = (why: string) => {
      if (over) return
      over = true
      child = undefined
      if (stopping) return
      delay = Date.now() - begun > HEALTHY ? FIRST_DELAY : Math.min(delay * 2, LONGEST_DELAY)
      at.log(`${spec.name} plane ended (${why}): starting it again in ${delay} ms`)
      timer = setTimeout(() => {
        restarts++
        start()
      }, delay)
    }
    started.on('error', (error) => ended(error.message))
    started.on('exit', (code, signal) => ended(String(signal ?? code)))
  }
  start()

  return {
    name: spec.name,
    pid: () => child?.pid ?? null,
    restarts: () => restarts,
    async stop(grace) {
      stopping = true
      clearTimeout(timer)
      const ending = child
      if (!ending || ending.exitCode !== null || ending.signalCode !== null) return
      const gone = new Promise((resolve) => ending.once('exit', resolve))
      ending.kill('SIGTERM')
      const late = new AbortController()
      const killer = sleep(grace, late.signal).then(
        () => ending.kill('SIGKILL'),
        () => {},
      )
      await gone
      late.abort()
      await killer
    },
  }
}
