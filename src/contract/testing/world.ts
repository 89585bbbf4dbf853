// A small world for tests: an embedded chain in a temporary folder, three members, a farm with nodes. Not exported.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sleep } from '#sys'
import { readConsent } from '../actions/deployments.ts'
import { createGroup } from '../actions/groups.ts'
import { deployContracts, type Grid, openGrid, openRelayer, type Relayer } from '../actions/index.ts'
import { createFarm, registerNode } from '../actions/nodes.ts'
import { approve, type Draft, draftTransition, propose } from '../actions/proposals.ts'
import type { GroupState } from '../approval/set.ts'
import { connectRpc } from '../engine/connect.ts'
import { openEmbeddedChain } from '../engine/embedded.ts'
import type { Engine } from '../engine/types.ts'
import { type Key, keyOf } from '../keys/keys.ts'
import type { Kind, Resources, Slot } from '../typed/schema.ts'

type Hex = `0x${string}`

export const key = (name: string): Key => keyOf(name, Buffer.from(name.padEnd(32, '.')).subarray(0, 32))

export const resources = (r: Partial<Resources> = {}): Resources => ({
  cpu: 1000,
  ram: 128,
  ssd: 1024,
  hdd: 0,
  uplink: 0,
  gpu: 0,
  ipv4: 0,
  ...r,
})

export const slot = (index: number, node: number, r: Partial<Resources> = {}, more: Partial<Slot> = {}): Slot => ({
  index,
  node,
  mode: 0,
  blob: `0x${'b0'.repeat(32)}`,
  resources: resources(r),
  ...more,
})

export const root = (n: number) => `0x${n.toString(16).padStart(64, '0')}` as Hex

export type World = AsyncDisposable & {
  dir: string
  grid: Grid
  relayer: Relayer
  members: { alice: Key; bob: Key; carol: Key }
  owner: Key
  farm: number
  /** Adds a node of that capacity. */
  node(
    name: string,
    capacity?: Partial<Resources>,
    country?: string,
    farm?: number,
  ): Promise<{ id: number; gas: bigint; key: Key }>
  team(): Promise<GroupState & { gas: bigint }>
  /** Another account that carries transactions; with funds, where gas has a price. */
  another(secret?: Hex): Promise<Relayer>
  /** Lets time go by on the chain: at once on the embedded one. */
  pass(seconds: number): Promise<void>
  /** Proposes by alice and approves by bob; gives the gas of the step. */
  agree(group: Hex, name: string, kind: Kind, draft?: Draft): Promise<bigint>
}

/** Networks say "final" seconds to minutes later: the suites ask what the contract does, so for them the latest block counts. */
const atLatest = (engine: Engine): Engine => ({
  ...engine,
  async finalized() {
    const block = await engine.request({ method: 'eth_getBlockByNumber', params: ['latest', false] })
    const { number, hash, timestamp } = block as Record<'number' | 'hash' | 'timestamp', Hex>
    return { number: Number(number), hash, timestamp: Number(timestamp) }
  },
})

/** CLOCK (ms) moves the embedded chain's time. */
export async function openWorld(options: { clock?: () => number } = {}): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'zos-contract-'))
  // ZOS_TEST_RPC (URLs) and ZOS_TEST_KEY (a funded key): the same tests on any other EVM network
  const urls = process.env.ZOS_TEST_RPC?.split(',')
  let ahead = 0
  const clock = options.clock ?? (() => Date.now() + ahead)
  const engine: Engine = urls ? atLatest(await connectRpc(urls)) : await openEmbeddedChain({ dir, clock })
  const relayer = openRelayer(process.env.ZOS_TEST_KEY as Hex | undefined)
  const { contract, since } = await deployContracts(engine, relayer)
  const grid = openGrid(engine, contract, { since })
  const members = { alice: key('alice'), bob: key('bob'), carol: key('carol') }
  const owner = key('owner')
  const farm = await createFarm(grid, relayer, owner.address, 'home')
  const world: World = {
    dir,
    grid,
    relayer,
    members,
    owner,
    farm,
    async node(name, capacity = {}, country = 'DE', inFarm = farm) {
      const k = key(name)
      const made = await registerNode(
        grid,
        relayer,
        { node: k, owner },
        {
          farm: inFarm,
          capacity: resources({ cpu: 4000, ram: 1024, ssd: 102400, ...capacity }),
          country,
          attributes: { name },
        },
      )
      return { ...made, key: k }
    },
    team: () =>
      createGroup(grid, relayer, {
        members: Object.values(members).map((m) => ({ address: m.address, seal: m.seal })),
        threshold: 2,
      }),
    async another(secret) {
      const made = openRelayer(secret)
      if (urls) await fund(grid, relayer, made.account.address)
      return made
    },
    async pass(seconds) {
      if (urls) await sleep(seconds * 1000)
      else ahead += seconds * 1000
    },
    async agree(group, name, kind, draft) {
      const consent = await readConsent(grid, group, name)
      const transition = draftTransition(consent.group, consent.state, kind, draft)
      const { id } = await propose(grid, relayer, members.alice, { transition })
      const done = await approve(grid, relayer, members.bob, group, id)
      return done.receipt!.gas
    },
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    },
  }
  return world
}

/** A tenth of a coin from RELAYER, whose transactions have an order: it must have none on their way. */
async function fund({ client, domain }: Grid, { account }: Relayer, to: Hex): Promise<void> {
  const nonce = await client.getTransactionCount({ address: account.address, blockTag: 'pending' })
  const fees = await client.estimateFeesPerGas()
  const serializedTransaction = await account.signTransaction({
    type: 'eip1559',
    chainId: domain.chainId,
    nonce,
    gas: 21_000n,
    ...fees,
    to,
    value: 10n ** 17n,
  })
  await client.waitForTransactionReceipt({ hash: await client.sendRawTransaction({ serializedTransaction }) })
}

export async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`
  }
  return 'it was taken'
}
