import { codeOf } from '#codec'
import { daemonCall } from './daemon.ts'
import { parseFlags } from './flags.ts'
import { forEach } from './lifecycle.ts'

/** The exit code of a workload when it ends; a daemon that is killed meanwhile is started again and asked again. */
async function exitCode(path: string): Promise<number> {
  for (;;) {
    try {
      return (await daemonCall<{ exitCode: number }>('POST', `${path}/wait`)).exitCode
    } catch (error) {
      if (codeOf(error) !== 'daemon-closed') throw error
    }
  }
}

/** Waits until workloads have ended and prints their exit codes. */
export default async function wait(args: string[]): Promise<number> {
  return forEach('wait', parseFlags('wait', args, {}).rest, async (path) => `${await exitCode(path)}\n`)
}
