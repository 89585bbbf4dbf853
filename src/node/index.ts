import type { Daemon } from '#mycelium'
import type { Far } from './network/ways.ts'
import type { NodeConfig } from './provision/config.ts'

export { CACHE } from './cache.ts'
export { type Far, waysTo } from './network/ways.ts'
export type { NodeConfig } from './provision/config.ts'
export { slotName } from './provision/names.ts'
export { type NodeOptions, type NodeStatus, runNode, supervisorSocket } from './supervisor/supervisor.ts'

// loaded when called: whoever only runs containers does not pay for the contract's libraries
/** The overlay's public key (hex) of the node with SECRET: it stands in the node's record on the chain. */
export const overlayKeyOf = async (secret: Uint8Array): Promise<string> => {
  const [{ overlaySecret }, { identityOf }] = await Promise.all([import('./provision/config.ts'), import('#mycelium')])
  return identityOf(overlaySecret(secret)).publicKey.toString('hex')
}
/** Serves FAR by sockets in the folder RUN through DAEMON, until it is disposed of. */
export const serveFar = async (daemon: Pick<Daemon, 'dial'>, run: string, far: readonly Far[]) =>
  (await import('./network/far.ts')).serveFar(daemon, run, far)
export const readConfig = async (home: string): Promise<NodeConfig> =>
  (await import('./provision/config.ts')).readConfig(home)
export const writeConfig = async (home: string, config: NodeConfig): Promise<void> =>
  (await import('./provision/config.ts')).writeConfig(home, config)
/** Compiles what planes run, for their first start; a line for each that does not load. A few seconds. */
export const warmPlanes = async (): Promise<string[]> => (await import('./supervisor/warm.ts')).warmPlanes()
