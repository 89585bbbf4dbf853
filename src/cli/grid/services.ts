import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { callUnix, programFlags, until } from '#sys'
import { gridDir } from './local.ts'

const SOURCE = resolve(import.meta.dirname, '../..')
export const PROGRAMS = {
  chain: join(SOURCE, 'contract/engine/daemon.ts'),
  hub: join(SOURCE, 'hub/main.ts'),
  zos: join(SOURCE, 'cli/main.ts'),
}

const ABSENT = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'])

/** What a process says of itself on its control socket; undefined when none answers. */
export async function statusOf<T>(socket: string): Promise<T | undefined> {
  try {
    return await callUnix<T>(socket, 'GET', '/status', { timeout: 5000 })
  } catch (error) {
    if (ABSENT.has(codeOf(error)) || codeOf(error) === 'deadline') return undefined
    throw error
  }
}

/** Starts a program that outlives us, its output in `grid/log/NAME.log`; returns once READY gives something. */
export async function startService<T extends object>(
  name: string,
  args: string[],
  ready: () => Promise<T | undefined>,
  deadline: number,
): Promise<T> {
  const dir = join(gridDir(), 'log')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const path = join(dir, `${name}.log`)
  const log = openSync(path, 'a', 0o600)
  const child = spawn(process.execPath, [...programFlags(), ...args], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
  })
  closeSync(log)
  child.unref()
  let ended = ''
  child.on('exit', (code, signal) => {
    ended = String(signal ?? code)
  })
  const fail = (why: string) =>
    new ZosError(`Start ${name}: ${why}; see "${path}"`, { code: 'service-start', kind: 'node' })
  try {
    return await until(
      `${name} to be ready`,
      deadline,
      async () => {
        if (ended !== '') throw fail(`it ended: ${ended}`)
        return ready()
      },
      50,
    )
  } catch (error) {
    if (codeOf(error) === 'deadline') throw fail(`it was not ready within ${deadline / 1000} s`)
    throw error
  }
}
