import { join } from 'node:path'
import { ZosError } from '#codec'
import { Daemon, formatAddress, gatewayOf, identityOf, type NicNetwork, parseEndpoint } from '#mycelium'
import { becomeConfinable, confine, serveUnix } from '#sys'
import { parseFlags } from '../flags.ts'
import { type Context, namedGroups, openContext, signer } from '../grid/context.ts'
import { noteGroup } from '../grid/group_book.ts'
import { gridFacts } from '../grid/local.ts'
import { connected, type Joined, joinDir, joined, wayBy } from '../grid/way.ts'
import { apiPath } from '../mycelium/api-path.ts'
import { openApi } from '../mycelium/serve-api.ts'
import { follow } from './follow.ts'
import { NOTHING, type Reach, reachOf } from './reach.ts'

const TUN = 'zos0'

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const warn = (line: string): void => void process.stderr.write(`zos: ${line}\n`)

function show({ members }: NicNetwork): void {
  for (const { names, address } of members)
    say(`${formatAddress(address).padEnd(40)} ${names.map((name) => `${name}.zos`).join(' ')}`)
  if (members.length === 0) say('nothing runs that could be reached yet')
}

/** Groups of the person for which this home has no name get the beginning of their id: commands then find their deployments. */
async function nameGroups(context: Context, { groups }: Reach): Promise<void> {
  const { contract } = context.facts
  const known = new Set(namedGroups(context).map(({ group }) => group))
  for (const group of groups) if (!known.has(group)) await noteGroup({ name: group.slice(0, 10), group, contract })
}

/** `zos join`: this machine on a grid, in the name of one of its people, until SIGTERM or SIGINT. */
export default async function joinGrid(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('join', args, {
    grid: { kind: 'value', about: 'what "zos grid export" printed' },
    as: { kind: 'value', about: 'the key of the person who joins' },
    tun: { kind: 'value', about: `the interface to make (${TUN})` },
    api: { kind: 'value', about: 'unix:PATH where "zos mycelium" commands ask' },
  })
  if (!flags.grid || !flags.as || rest.length > 0)
    throw new ZosError('zos join: write zos join --grid FILE --as KEY [--tun NAME]', { code: 'usage' })
  becomeConfinable()
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
  const facts = gridFacts(flags.grid)
  const { peers } = facts
  if (peers.length === 0)
    throw new ZosError(`Join the grid of "${flags.grid}": it names no peers of the overlay`, { code: 'no-peers' })
  const key = await signer(flags.as, 'join')
  const tun = flags.tun ?? TUN
  const socket = apiPath(flags.api)
  if (await joined())
    throw new ZosError(`Join as "${key.name}": a "zos join" runs in this home already; end it first`, {
      code: 'joined-already',
    })
  const { address, publicKey } = identityOf(key.sealSecret)
  await using daemon = await Daemon.start({
    secret: key.sealSecret,
    listen: [],
    peers: peers.map(parseEndpoint),
    port: { kind: 'tun', name: tun, network: NOTHING },
  })
  // before the first byte of anybody is read on this thread
  confine({ opens: true, keeps: ['fs', 'net'] })
  await connected(daemon)
  await using way = await wayBy(daemon, facts, joinDir())
  await using context = await openContext(flags.grid, way)
  let reach = await reachOf(context, key)
  if (reach.groups.length === 0)
    throw new ZosError(`Join as "${key.name}": no group of this grid has ${key.address}; ask to be added to one`, {
      code: 'not-a-member',
    })
  await daemon.reform(publicKey.toString('hex'), reach.network)
  await nameGroups(context, reach)
  await using _api = await openApi(daemon, socket)
  const { rpc, hub } = way
  const commands = await serveUnix(join(joinDir(), 'join.sock'), {
    calls: {
      'GET /': (): Joined => ({ facts, person: key.name, rpc, hub }),
      'GET /slots': () => reach.slots,
    },
  })
  const resolver = formatAddress(gatewayOf(address))
  say(`${key.name} is ${formatAddress(address)} on ${tun}, by ${peers.join(', ')}`)
  say(`names: resolvectl dns ${tun} ${resolver}; resolvectl domain ${tun} '~zos'`)
  say(
    `       or "nameserver ${resolver}" as the first of /etc/resolv.conf; what does not end in .zos is left to the next`,
  )
  reach.said.forEach(warn)
  show(reach.network)

  const look = async (): Promise<void> => {
    const before: Reach = reach
    reach = await reachOf(context, key)
    reach.said.filter((line) => !before.said.includes(line)).forEach(warn)
    await nameGroups(context, reach)
    if (JSON.stringify(reach.network) === JSON.stringify(before.network)) return
    await daemon.reform(publicKey.toString('hex'), reach.network)
    say('what can be reached has changed:')
    show(reach.network)
  }
  try {
    await Promise.race([daemon.ended, follow(context.grid, look, warn, stop.signal)])
  } finally {
    stop.abort()
    commands.close()
    commands.closeAllConnections()
  }
  return 0
}
