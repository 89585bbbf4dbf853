import { type Hub, type HubCall, hubCall, parseHttpPlace } from '#cas'
import { codeOf, reasonOf, sha256Hex, ZosError } from '#codec'
import {
  connectRpc,
  type Grid,
  isSilent,
  type Key,
  listDeployments,
  listFarms,
  listNodes,
  type Node,
  openGrid,
  openKey,
  openRelayer,
  type Relayer,
} from '#contract'
import { type GroupEntry, groupBook } from './group_book.ts'
import { hubKey } from './hub_key.ts'
import { type GridFacts, gridFacts, keysDir } from './local.ts'
import { passphrase } from './passphrase.ts'
import { relayerKey } from './relayer_key.ts'
import { joined, openWay, type Way } from './way.ts'

type Hex = `0x${string}`

/** A grid as commands use it, and the way to it. */
export type Context = AsyncDisposable & { facts: GridFacts; grid: Grid; relayer: Relayer; hubs: Hub[] }

/** The grid that is said by FILE or $ZOS_GRID, else the local one, else the one this home has joined; by the way GIVEN, if any. */
export async function openContext(file?: string, given?: Way): Promise<Context> {
  const here = given ? undefined : await joined()
  const facts = gridFacts(file, here?.facts)
  await using stack = new AsyncDisposableStack()
  const { rpc, hub } = given ?? stack.use(await openWay(facts, here))
  const engine = await connectRpc(rpc).catch((cause: unknown) => {
    throw codeOf(cause) === 'rpc-disagree'
      ? new ZosError(
          `Reach the grid: no chain answers at "${facts.rpc.join(', ')}"; "zos grid up" starts the local one`,
          {
            code: 'chain-away',
            kind: 'node',
            cause,
          },
        )
      : cause
  })
  if (engine.chainId !== facts.chainId || engine.genesis !== facts.genesis)
    throw new ZosError(`Reach the grid: "${facts.rpc[0]}" is another chain than this grid's`, { code: 'wrong-chain' })
  const key = hubKey()
  const hubs = hub.map((text, n) => {
    const place = parseHttpPlace(text)
    if (!place) throw new ZosError(`Reach the grid: "${text}" is no hub's address`, { code: 'bad-hub' })
    const call = hubCall(place, facts.hub[n]!, { key })
    stack.defer(call.close)
    return call
  })
  const kept = stack.move()
  return {
    facts,
    grid: openGrid(engine, facts.contract, { since: BigInt(facts.since) }),
    relayer: openRelayer(relayerKey()),
    hubs,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** A hub that gave no answer at all, said to people: where it is, why, and what starts it again; any other ERROR as it is. */
function hubAway(error: unknown): unknown {
  if (!(error instanceof ZosError) || error.code !== 'source-away' || error.cause === undefined) return error
  return new ZosError(
    `Reach the grid's hub "${error.details.hub}": ${reasonOf(error.cause)}; "zos grid status" shows what runs, and "zos grid up" starts again what is missing of the local grid`,
    { code: 'source-away', kind: 'node', details: error.details, cause: error },
  )
}

/** ACT at each hub; those out of reach are passed over while one answers. Throws `source-away` when none does. */
export async function atEachHub<H extends HubCall>(hubs: H[], act: (hub: H) => Promise<void>): Promise<void> {
  const done = await Promise.allSettled(hubs.map(act))
  const failed = done.flatMap((d) => (d.status === 'rejected' ? [d.reason as unknown] : []))
  const why = failed.find((error) => codeOf(error) !== 'source-away') ?? failed[0]
  if (failed.length === hubs.length || (why !== undefined && codeOf(why) !== 'source-away')) throw hubAway(why)
}

/** The key named by --as, opened; `KEY@0xADDRESS` signs for the contract wallet at that address, which accepts the key. */
export async function signer(said: string | undefined, command: string): Promise<Key> {
  const [name, wallet, ...more] = said?.split('@') ?? []
  if (!name || more.length > 0)
    throw new ZosError(`zos ${command}: say with --as who signs ("zos key ls" lists keys)`, { code: 'usage' })
  if (wallet !== undefined && !/^0x[0-9a-fA-F]{40}$/.test(wallet))
    throw new ZosError(`zos ${command}: "${wallet}" is no address of a contract wallet`, { code: 'usage' })
  const key = await openKey(keysDir(), name, await passphrase(`passphrase of "${name}"`))
  return wallet === undefined ? key : { ...key, address: wallet.toLowerCase() as Hex }
}

/** The groups this home has names for on this grid. */
export const namedGroups = ({ facts }: Context): GroupEntry[] =>
  groupBook().filter((g) => g.contract === facts.contract)

/** The group a command means: by name, by id, or the only one there is. */
export function groupNamed(context: Context, text: string | undefined): GroupEntry {
  const known = namedGroups(context)
  if (text === undefined) {
    if (known.length === 1) return known[0]!
    const which = known.map((g) => g.name).join(', ')
    throw new ZosError(
      known.length === 0
        ? 'Find the group: this home has a name for none; say its id with --group, or make one: "zos group create"'
        : `Find the group: say with --group which of ${which}`,
      { code: 'which-group' },
    )
  }
  const found = known.find((g) => g.name === text || g.group === text.toLowerCase())
  if (found) return found
  if (/^0x[0-9a-fA-F]{64}$/.test(text))
    return { name: text.slice(0, 10), group: text.toLowerCase() as Hex, contract: context.facts.contract }
  throw new ZosError(`Find group "${text}": there is none of that name; "zos group ls" lists them`, {
    code: 'no-group',
  })
}

/** The group that has DEPLOYMENT when none is said: the only one there is, or the only one that has it. */
export async function groupOfDeployment(context: Context, name: string, said: string | undefined): Promise<GroupEntry> {
  if (said !== undefined) return groupNamed(context, said)
  const known = namedGroups(context)
  if (known.length < 2) return groupNamed(context, undefined)
  const having: GroupEntry[] = []
  for (const g of known) if ((await listDeployments(context.grid, g.group)).includes(name)) having.push(g)
  if (having.length === 1) return having[0]!
  const which = (groups: GroupEntry[]) => groups.map((g) => g.name).join(', ')
  throw new ZosError(
    having.length === 0
      ? `Find deployment "${name}": none of your groups has it; say with --group which of ${which(known)}`
      : `Find deployment "${name}": say with --group which of ${which(having)}`,
    { code: 'which-group' },
  )
}

// ---- nodes by name

export type PlacedNode = Node & { name: string; farmName: string }

export async function nodesOf({ grid }: Context): Promise<PlacedNode[]> {
  const [nodes, farms] = await Promise.all([listNodes(grid), listFarms(grid)])
  return nodes.map((n) => ({
    ...n,
    name: typeof n.attributes.name === 'string' ? n.attributes.name : String(n.id),
    farmName: farms.find((f) => f.id === n.farm)?.name ?? String(n.farm),
  }))
}

/** What is to be known of a node that gives no sign of life any more; else undefined. */
export const silenceOf = (n: Pick<Node, 'seen'>): string | undefined =>
  isSilent(n, Date.now() / 1000)
    ? `its node has given no sign of life since ${new Date(n.seen * 1000).toISOString()}`
    : undefined

// ---- sealed specs at the hub

export const putSpec = ({ hubs }: Context, bytes: Uint8Array): Promise<void> =>
  atEachHub(hubs, async (hub) => {
    await hub('PUT', `/specs/${sha256Hex(bytes)}`, bytes)
  })

/** From the first hub that has it; what one lacks and another cannot say is an error, not absence. */
export async function getSpec({ hubs }: Context, blob: Hex): Promise<Uint8Array | undefined> {
  let away: unknown
  for (const hub of hubs) {
    try {
      const { status, body } = await hub('GET', `/specs/${blob.slice(2)}`)
      if (status !== 404 && `0x${sha256Hex(body)}` === blob) return body
    } catch (error) {
      away ??= error
    }
  }
  if (away !== undefined) throw hubAway(away)
  return undefined
}
