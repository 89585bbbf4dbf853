/** Names under which the compute plane holds what belongs to a deployment's slot: the same on every pass. */
export const slotName = (deployment: string, slot: number): string => `${deployment.slice(2, 18)}.${slot}`
export const workloadName = (deployment: string, slot: number, leaf: string): string =>
  `${slotName(deployment, slot)}.${leaf.slice(2, 14)}`
export const volumeName = (deployment: string, slot: number, volume: string): string =>
  `${slotName(deployment, slot)}.${volume}`
