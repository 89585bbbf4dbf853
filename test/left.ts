import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import { until } from '../src/sys/index.ts'

/** Loaded into a program of ours first of all: it holds on to what it had of node:ffi at the start. */
const FIXTURE = resolve(import.meta.dirname, 'ffi-left.fixture.ts')

/** What the main thread of a program started with ENV can still do, each thing as "yes" or why not; said in the file PATH. */
export function askingLeft(path: string) {
  return {
    env: { ZOS_LEFT: path, NODE_OPTIONS: `--import ${FIXTURE}` },
    async left(child: Pick<ChildProcess, 'kill'>): Promise<unknown> {
      rmSync(path, { force: true })
      child.kill('SIGUSR2')
      await until('the program to say what it can', 20_000, () => existsSync(path))
      return JSON.parse(readFileSync(path, 'utf8'))
    },
  }
}

export const DENIED = 'ERR_ACCESS_DENIED'
export const NOTHING = { library: DENIED, address: DENIED, memory: DENIED, thread: DENIED, program: DENIED }
