import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { supervisorSocket } from '../src/node/index.ts'
import { callUnix } from '../src/sys/index.ts'
import { ROOT, until } from './harness.ts'

/** Ends the node of HOME and starts it again with RPC and HUB (URLs) as all it can reach; gives its process. */
export async function runBehind(home: string, rpc: string, hub: string): Promise<ChildProcess> {
  const socket = supervisorSocket(home)
  const up = () =>
    callUnix<{ state: string }>(socket, 'GET', '/status').then(
      (s) => s.state === 'up',
      () => false,
    )
  await callUnix(socket, 'POST', '/down')
  await until('the node to end', 60, async () => !(await up()))
  const args = ['node', 'run', '--home', home, '--rpc', rpc, '--hub', hub]
  const child = await until('its lock to be free', 30, async () => {
    const started = spawn(join(ROOT, 'zos'), args, { stdio: 'ignore' })
    await new Promise((r) => setTimeout(r, 2000))
    return started.exitCode === null ? started : undefined
  })
  await until('the node to be up', 60, up)
  return child
}
