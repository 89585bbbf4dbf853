import { type SpawnOptions, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { codeOf, ZosError } from '#codec'

export type RunResult = { code: number; signal: NodeJS.Signals | null; stdout: Buffer; stderr: string }

export type RunOptions = {
  cwd?: string
  env?: NodeJS.ProcessEnv
  input?: Uint8Array | string
  /** Milliseconds after which it is killed; every external call has a deadline. Default 60 s. */
  timeout?: number
  /** Bytes of standard output kept; more kills it. Default 64 MiB. */
  maxOutput?: number
  /** Standard error is passed on line by line as it comes. */
  onLine?: (line: string) => void
  signal?: AbortSignal
}

/** Runs a program to its end and returns how it ended; throws only when it cannot be started or runs out of bounds. */
export function tryRun(file: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const timeout = options.timeout ?? 60_000
  const maxOutput = options.maxOutput ?? 64 << 20
  return new Promise((resolve, reject) => {
    const spawned: SpawnOptions = { stdio: ['pipe', 'pipe', 'pipe'] }
    if (options.cwd !== undefined) spawned.cwd = options.cwd
    if (options.env !== undefined) spawned.env = options.env
    if (options.signal !== undefined) spawned.signal = options.signal
    const child = spawn(file, args, spawned)
    const out: Buffer[] = []
    let size = 0
    let stderr = ''
    let partial = ''
    let over: string | undefined
    const end = (why: string) => {
      over ??= why
      child.kill('SIGKILL')
      // a program of its own may hold them open, and would be waited for
      child.stdout!.destroy()
      child.stderr!.destroy()
    }
    const timer = setTimeout(() => end(`still running after ${timeout / 1000} s`), timeout)
    child.stdout!.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxOutput) end(`more than ${maxOutput} bytes of output`)
      else out.push(chunk)
    })
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      stderr = (stderr + chunk).slice(-65536)
      if (!options.onLine) return
      const lines = (partial + chunk).split('\n')
      partial = lines.pop()!
      for (const line of lines) options.onLine(line)
    })
    child.on('error', (error) => {
      clearTimeout(timer)
      // ENOENT is also what a folder that is not there gives
      const missing = codeOf(error) === 'ENOENT' && (options.cwd === undefined || existsSync(options.cwd))
      reject(
        new ZosError(
          missing
            ? `Run "${file}": the program is not installed; "./zos doctor" says how to get it`
            : `Run "${file}"${options.cwd === undefined ? '' : ` in "${options.cwd}"`}: ${error.message}`,
          { code: missing ? 'program-missing' : 'spawn-failed', kind: 'node', cause: error },
        ),
      )
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (partial !== '') options.onLine?.(partial)
      if (over) reject(new ZosError(`Run "${file}": ${over}`, { code: 'program-out-of-bounds', kind: 'node' }))
      else resolve({ code: code ?? 128, signal, stdout: Buffer.concat(out), stderr })
    })
    child.stdin!.on('error', () => {}) // a program may end before it has read its input
    child.stdin!.end(options.input ?? '')
  })
}

/** The line that explains a failure: the last that speaks of an error (gcc ends with "compilation terminated."), else the last. */
function lastWord(stderr: string): string {
  const lines = stderr.trim().split('\n')
  return lines.findLast((line) => /\berror\b/i.test(line)) ?? lines.at(-1) ?? ''
}

/** Like tryRun, but an exit code other than 0 throws with the line in which the program said why. */
export async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const result = await tryRun(file, args, options)
  if (result.code !== 0) {
    const said = lastWord(result.stderr)
    throw new ZosError(
      `Run "${file} ${args.slice(0, 2).join(' ')}": exit ${result.signal ?? result.code}: ${said || 'it said nothing'}`,
      {
        code: 'program-failed',
        kind: 'node',
        details: { file, args, code: result.code, stderr: result.stderr.slice(-4000) },
      },
    )
  }
  return result
}

/** True while a process with this id exists (a zombie counts). */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
