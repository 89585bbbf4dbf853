import {
  codeHashOf,
  createGroup,
  draftTransition,
  noConsent,
  type Slot,
  signProposal,
  submit,
} from '../src/contract/index.ts'
import { openWorld, root, slot } from '../src/contract/testing/world.ts'
import type { Pinned } from '../src/node/provision/pinned.ts'
import { pull } from '../src/node/provision/pull.ts'
import { type Benchmark, median } from './row.ts'

const OWN = 10
const ALL = 1000
const LOOKS = 21

type Cost = { first: number; idle: number; whole: number }

/** Milliseconds of CPU (others use the cores as well) of one node's looks at a chain of COUNT deployments, OWN of which have a slot on it; chain included. */
async function cost(count: number): Promise<Cost> {
  await using w = await openWorld()
  const capacity = { cpu: 1_000_000, ram: 1_000_000, ssd: 10_000_000 }
  const { id: me } = await w.node('here', capacity)
  const { id: other } = await w.node('there', capacity)
  const member = { address: w.members.alice.address, seal: w.members.alice.seal }
  const group = await createGroup(w.grid, w.relayer, { members: [member], threshold: 1 })
  for (let n = 0; n < count; n++) {
    const slots: Slot[] = [slot(0, n % (count / OWN) === 0 ? me : other, { cpu: 1, ram: 1, ssd: 1 })]
    const transition = draftTransition(group, noConsent(`d${n}`), 'deploy', { specRoot: root(n + 1), slots })
    const signatures = [signProposal(w.grid, group, w.members.alice, { transition })]
    await submit(w.grid, w.relayer, { subject: { transition }, signatures })
  }
  const node = { id: me, codeHash: await codeHashOf(w.grid), owner: w.owner.address }
  const pinned: Pinned = { cursor: null, groups: {}, deployments: {} }
  const look = async (whole: boolean) => {
    const begun = process.cpuUsage()
    await pull(w.grid, pinned, node, { whole, log: () => {} })
    const { user, system } = process.cpuUsage(begun)
    return (user + system) / 1000
  }
  const first = await look(true)
  if (Object.keys(pinned.deployments).length !== OWN) throw new Error('the node found not just its own')
  const times = async (whole: boolean) => {
    const all: number[] = []
    for (let n = 0; n < LOOKS; n++) all.push(await look(whole))
    return median(all)
  }
  return { first, idle: await times(false), whole: await times(true) }
}

export default {
  name: 'grid-reconcile',
  claim: `a node's look at all of its ${OWN} deployments, ${ALL} on the chain`,
  async run() {
    const peer = await cost(OWN)
    const ours = await cost(ALL)
    return {
      ours: ours.whole,
      peer: peer.whole,
      peerName: `the same with ${OWN} on the chain`,
      unit: 'ms of CPU',
      better: 'lower',
      must: 1.5,
      notes: {
        'a look without news, ms of CPU': ours.idle.toFixed(2),
        'the first look of all, ms of CPU': ours.first.toFixed(0),
      },
    }
  },
} satisfies Benchmark
