import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { connectRpc, createFarm, deployContracts, listFarms, openGrid, openRelayer } from '#contract'
import { type NodeStatus, readConfig, supervisorSocket } from '#node'
import { freePort, until } from '#sys'
import { processesWith } from '#vm'
import { ensureNodeSetup } from '../setup/index.ts'
import { backingDown, backingUp, hubFlags, placesOfServices, relayAt, relayFlags } from './backing.ts'
import {
  factsOfLocal,
  gridDir,
  type LocalGrid,
  type LocalNode,
  localGrid,
  nodeHome,
  saveFacts,
  saveLocal,
} from './local.ts'
import { operator } from './operator.ts'
import { capacityOf, registerHome } from './register.ts'
import { relayerKey } from './relayer_key.ts'
import { PROGRAMS, startService, statusOf } from './services.ts'
import { lockUp } from './up_lock.ts'

/** Where the nodes of a local grid say they are: different countries, so that geo rules can be tried. */
const PLACES = [
  { country: 'BE', latitude: 51.05, longitude: 3.72 },
  { country: 'DE', latitude: 52.52, longitude: 13.4 },
  { country: 'FI', latitude: 60.17, longitude: 24.94 },
  { country: 'PT', latitude: 38.72, longitude: -9.14 },
  { country: 'CH', latitude: 46.95, longitude: 7.45 },
] as const

const NODE_DEADLINE = 120_000

/** Makes the contract, the farms and the nodes' identities that are missing. */
async function register(rpc: string, nodes: LocalNode[]) {
  const engine = await connectRpc([rpc])
  const relayer = openRelayer(relayerKey())
  let facts = factsOfLocal()
  if (facts && (engine.chainId !== facts.chainId || engine.genesis !== facts.genesis))
    throw new ZosError(
      `Start the grid: the chain in "${join(gridDir(), 'chain')}" is another than its nodes are of: "zos grid down", then put the journal.log back that was there, or remove "${gridDir()}" and begin anew`,
      { code: 'wrong-chain' },
    )
  if (!facts) {
    const { contract, since } = await deployContracts(engine, relayer)
    facts = {
      format: 'zos-grid/1',
      chainId: engine.chainId,
      genesis: engine.genesis,
      contract,
      since: Number(since),
      rpc: [rpc],
      hub: [],
      peers: [],
    }
    await saveFacts(facts)
  }
  const grid = openGrid(engine, facts.contract, { since: BigInt(facts.since) })
  const owner = await operator(true)
  let farms: Awaited<ReturnType<typeof listFarms>> | undefined
  for (const [n, { name, farm }] of nodes.entries()) {
    const home = nodeHome(name)
    try {
      await readConfig(home)
      continue
    } catch {}
    farms ??= await listFarms(grid)
    const farmId = farms.find((f) => f.name === farm)?.id ?? (await createFarm(grid, relayer, owner.address, farm))
    const place = PLACES[n % PLACES.length]!
    const capacity = capacityOf(gridDir(), nodes.length)
    await registerHome({ grid, relayer, facts }, { ...place, home, name, owner, farm: farmId, capacity })
  }
  return facts
}

async function nodeUp(
  name: string,
  at: { rpc: string; hub: string; relayer: string; peer: string },
): Promise<NodeStatus> {
  const home = nodeHome(name)
  const socket = supervisorSocket(home)
  const ready = async () => {
    const now = await statusOf<NodeStatus>(socket)
    return now?.state === 'up' ? now : undefined
  }
  const command = [PROGRAMS.zos, 'node', 'run', '--home', home]
  // also one that was started a moment ago, and does not answer yet
  if (processesWith([...command, ''].join('\0')).length > 0)
    return until(`node "${name}" to be up`, NODE_DEADLINE, ready, 50)
  // one set of templates for all nodes of this machine: their files are never written after they were made
  try {
    mkdirSync(join(gridDir(), 'templates'), { recursive: true, mode: 0o700 })
    symlinkSync('../../templates', join(home, 'templates'))
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
  const { rpc, hub, relayer, peer } = at
  const places = ['--rpc', rpc, '--hub', hub, '--relayer', relayer, '--peer', peer]
  return startService(name, [...command, ...places], ready, NODE_DEADLINE)
}

/**
 * Starts what is missing of the local grid and returns when all of it is up. ADDRESS: where others find its relay from now on;
 * undefined: where they did before.
 */
export async function gridUp(
  count: number | undefined,
  address: string | undefined,
  say: (line: string) => void,
): Promise<void> {
  await ensureNodeSetup()
  await lockUp()
  const local: LocalGrid = localGrid() ?? { chainPort: 0, hubPort: 0, relayPort: 0, nodes: [] }
  for (const port of ['chainPort', 'hubPort', 'relayPort'] as const) local[port] ||= await freePort()
  // known before anything starts: what is cut off from here on is gone on with
  await saveLocal(local)
  const wanted = Math.max(count ?? (local.nodes.length || 3), local.nodes.length)
  const relayAddress = address ?? local.relayAddress ?? '127.0.0.1'
  const services = await placesOfServices()
  const [chain, hub] = await Promise.all([
    backingUp('chain', local.chainPort),
    backingUp('hub', local.hubPort, hubFlags(services.hub)),
  ])
  // nodes dial it again when it comes back
  if (relayAddress !== (local.relayAddress ?? '127.0.0.1')) await backingDown('relay')
  const { relayPort } = local
  const flags = relayFlags({ chain: chain.port, hub: hub.port }, relayAddress, relayPort)
  await backingUp('relay', relayPort, flags)
  for (let n = local.nodes.length; n < wanted; n++)
    local.nodes.push({
      name: `node${n + 1}`,
      farm: `farm${n + 1}`,
      country: PLACES[n % PLACES.length]!.country,
    })
  await saveLocal({ ...local, relayAddress })
  const [rpc, hubUrl] = [`http://127.0.0.1:${chain.port}`, `http://127.0.0.1:${hub.port}`]
  const facts = await register(rpc, local.nodes)
  const peer = relayAt(relayAddress, relayPort)
  const now = { ...facts, rpc: [rpc], hub: [hubUrl], peers: [peer], relayer: services.relayer }
  if (JSON.stringify(now) !== JSON.stringify(facts)) await saveFacts(now)
  say(`chain ${rpc}, hub ${hubUrl}, overlay ${peer}`)
  await Promise.all(
    local.nodes.map(async ({ name, farm, country }) => {
      const { pid } = await nodeUp(name, { ...services, peer: relayAt('127.0.0.1', relayPort) })
      say(`${name} (${farm}, ${country}) is up: pid ${pid}`)
    }),
  )
}
