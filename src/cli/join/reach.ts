import { codeOf, reasonOf } from '#codec'
import { type GroupState, type Key, listDeployments, listGroups, placeOf, ROLE } from '#contract'
import { formatAddress, type NicMember, type NicNetwork } from '#mycelium'
import type { Context } from '../grid/context.ts'
import { membersOf } from '../grid/network.ts'
import type { ReachedSlot } from '../grid/way.ts'

/** What a person may reach on a grid, as its nodes will have it too; SAID: what keeps more from being reached. */
export type Reach = { groups: `0x${string}`[]; network: NicNetwork; slots: ReachedSlot[]; said: string[] }

/** Names end in `DEPLOYMENT.zos`: the deployment is part of the name, since a person may reach several. */
const DOMAIN = 'zos'

/** Before anything is known. */
export const NOTHING: NicNetwork = { domain: DOMAIN, members: [], ports: [] }

/** Why nodes would not let KEY in, though it is a member; '' when they will. */
function hindrance(group: GroupState, key: Key): string {
  const { roles, seal } = group.set.members[placeOf(group, key.address)]!
  if (seal !== key.seal) return `it is listed without the key "${key.name}" is sealed to`
  if (!(roles & (ROLE.read | ROLE.approve))) return 'it may neither read nor approve'
  return roles & ROLE.read ? '' : 'it may not read specs, so their addresses are not known'
}

/** Everything that the groups of KEY run, from the chain and the sealed specs. */
export async function reachOf(context: Context, key: Key): Promise<Reach> {
  const groups = await listGroups(context.grid, { address: key.address })
  const members: NicMember[] = []
  const said: string[] = []
  const reached: ReachedSlot[] = []
  const taken = new Map<string, string>()
  for (const group of groups) {
    const short = group.group.slice(0, 10)
    const why = hindrance(group, key)
    if (why !== '') {
      said.push(`group ${short}: nothing of it can be reached: ${why}`)
      continue
    }
    for (const name of await listDeployments(context.grid, group.group)) {
      try {
        const slots = await membersOf(context, key, group.group, name)
        if (slots.length === 0) continue
        const found = slots.map(({ names, address }) => ({
          names: names.map((label) => `${label}.${name}`),
          address: Buffer.from(address, 'hex'),
        }))
        for (const { slot, address } of slots)
          reached.push({
            group: group.group,
            deployment: name,
            slot,
            address: formatAddress(Buffer.from(address, 'hex')),
          })
        const before = taken.get(name)
        taken.set(name, before ?? short)
        // by address they can be reached all the same
        if (before !== undefined) said.push(`"${name}" of group ${short}: no names, as group ${before} has one too`)
        members.push(...(before === undefined ? found : found.map((m) => ({ ...m, names: [] }))))
      } catch (error) {
        if (codeOf(error).startsWith('rpc-')) throw error
        said.push(`"${name}" of group ${short}: ${reasonOf(error)}`)
      }
    }
  }
  return { groups: groups.map(({ group }) => group), network: { ...NOTHING, members }, slots: reached, said }
}
