import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { callUnix, until } from '#sys'
import { places } from '#wire'
import { localGrid, nodeHome } from '../grid/local.ts'
import type { DemoHome } from './home.ts'

const GROUP = 'team'
const MEMBERS = ['alice', 'bob', 'carol']
/** A first start makes the template of its class of microVMs, which takes a boot. */
const RUNNING_DEADLINE = 120_000

export type Slot = { node: string; farm: string; country: string; state: string; reason: string }

const runOf = (node: string) => places({ ZOS_HOME: nodeHome(node) }).run

/** Three members, each with a key, who found a group in which two decide. */
export async function foundTeam({ zos }: DemoHome): Promise<void> {
  await Promise.all(MEMBERS.map((m) => zos(['key', 'new', m])))
  await zos(['group', 'create', GROUP, ...MEMBERS.flatMap((m) => ['--member', m]), '--threshold', '2'])
}

/** Proposes NAME as the first member. Gives the proposal's id; one approval must not be enough. */
export async function propose({ zos, dir }: DemoHome, name: string, image: string): Promise<string> {
  const file = join(dir, `${name}.yaml`)
  writeFileSync(
    file,
    `name: ${name}\nworkloads:\n  - { name: web, image: ${image}, memory: 128m, cpus: 1, ports: [80] }\n`,
  )
  await zos(['deploy', file, '--group', GROUP, '--as', MEMBERS[0]!])
  const [open] = JSON.parse(await zos(['proposals', '--group', GROUP, '--json'])) as { id: string; approvals: number }[]
  if (open?.approvals === 1) return open.id
  throw new ZosError(`Propose "${name}": no proposal waits for its second approval`, {
    code: 'not-proposed',
    kind: 'bug',
  })
}

/** The second approval, which makes it the group's word. */
export async function approve({ zos }: DemoHome, id: string): Promise<void> {
  const { agreed } = JSON.parse(await zos(['approve', id, '--as', MEMBERS[1]!, '--json'])) as { agreed: boolean }
  if (!agreed) throw new ZosError(`Approve "${id}": two of three are not enough`, { code: 'not-agreed', kind: 'bug' })
}

type Taken = { deployments: { name: string; version: number }[] }

/** Waits until one of the nodes has pulled and verified NAME; asks them by their unix sockets. Gives its name. */
export const pulled = (name: string): Promise<string> =>
  until(`a node to pull "${name}"`, 30_000, async () => {
    for (const node of localGrid()!.nodes) {
      const { deployments } = await callUnix<Taken>(join(runOf(node.name), 'provision.sock'), 'GET', '/status')
      if (deployments.some((d) => d.name === name && d.version > 0)) return node.name
    }
    return undefined
  })

/** Waits until the chain says that its node runs NAME. */
export async function running({ zos }: DemoHome, name: string): Promise<Slot> {
  const slot = await until(
    `"${name}" to run`,
    RUNNING_DEADLINE,
    async () => {
      const { slots } = JSON.parse(await zos(['status', name, '--json'])) as { slots: Slot[] }
      return ['running', 'failed'].includes(slots[0]!.state) ? slots[0] : undefined
    },
    100,
  )
  if (slot.state === 'running') return slot
  throw new ZosError(`Run "${name}": node "${slot.node}" says: ${slot.reason}`, { code: 'not-running', kind: 'node' })
}

/** What the start of the workload on NODE cost it. */
export async function reportOf(node: string) {
  const socket = join(runOf(node), 'compute.sock')
  const [workload] = await callUnix<{ name: string }[]>(socket, 'GET', '/workloads')
  return callUnix<{
    export: { files: number; checkedBytes: number; fetchedBytes: number }
    host: { memory: number }
  }>(socket, 'GET', `/workloads/${workload!.name}/report`)
}
