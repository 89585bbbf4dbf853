import type { NodeConfig } from './provision/config.ts'

export { CACHE } from './cache.ts'
export type { NodeConfig } from './provision/config.ts'
export { slotName } from './provision/names.ts'
export { type NodeOptions, type NodeStatus, runNode, supervisorSocket } from './supervisor/supervisor.ts'

// loaded when called: whoever only runs containers does not pay for the contract's libraries
export const readConfig = async (home: string): Promise<NodeConfig> =>
  (await import('./provision/config.ts')).readConfig(home)
export const writeConfig = async (home: string, config: NodeConfig): Promise<void> =>
  (await import('./provision/config.ts')).writeConfig(home, config)
