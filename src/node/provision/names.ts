// Under which names the compute plane holds what belongs to a deployment's slot: the same on every pass. What was made after a
// wipe bears that step, so that a node which learns of it late can tell it from what the group had deleted.

export const slotName = (deployment: string, slot: number): string => `${deployment.slice(2, 18)}.${slot}`

const since = (wiped: number | undefined): string => (wiped === undefined ? '' : `.${wiped}`)

export const workloadName = (deployment: string, slot: number, leaf: string, wiped?: number): string =>
  `${slotName(deployment, slot)}.${leaf.slice(2, 14)}${since(wiped)}`

export const volumeName = (deployment: string, slot: number, volume: string, wiped?: number): string =>
  `${slotName(deployment, slot)}.${volume}${since(wiped)}`

/** Whether the workload or volume NAME was made before step WIPED. */
export const isBefore = (name: string, wiped: number | undefined): boolean =>
  wiped !== undefined && Number(name.split('.')[3] ?? 0) < wiped
