import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { type NodeStatus, supervisorSocket } from '../src/node/index.ts'
import { callUnix } from '../src/sys/index.ts'
import { processesWith, ROOT, until } from './harness.ts'

/**
 * Ends the node of HOME and starts it again with RPC and HUB (URLs) as all it can reach; gives its process, which leads a group of
 * its own as a command at a terminal does. What it says there goes to HOME/said.
 */
export async function runBehind(home: string, rpc: string, hub: string): Promise<ChildProcess> {
  const socket = supervisorSocket(home)
  const status = () => callUnix<NodeStatus>(socket, 'GET', '/status')
  const { pid } = await status()
  await callUnix(socket, 'POST', '/down')
  // it has its lock until then
  await until('the node to end', 60, () => !processesWith(home).includes(pid))
  const args = ['node', 'run', '--home', home, '--rpc', rpc, '--hub', hub]
  const said = openSync(join(home, 'said'), 'w')
  const child = spawn(join(ROOT, 'zos'), args, { stdio: ['ignore', said, said], detached: true })
  closeSync(said)
  await until('the node to be up', 60, async () => {
    if (child.exitCode !== null) throw new Error(`zos ${args.join(' ')}: exit ${child.exitCode}`)
    return (await status().catch(() => undefined))?.state === 'up'
  })
  return child
}
