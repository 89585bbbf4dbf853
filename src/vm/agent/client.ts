import { ZosError } from '#codec'
import type { Agent, ConnectOptions } from './agent.ts'

/** Connects to the unix socket of the VM's `zos.agent` port and shakes hands; works any number of times per VM. */
export function connectAgent(socketPath: string, options: ConnectOptions = {}): Promise<Agent> {
  return Promise.reject(
    new ZosError(`Connect to the agent at "${socketPath}": not built yet`, {
      code: 'agent-gone',
      details: { options },
    }),
  )
}
