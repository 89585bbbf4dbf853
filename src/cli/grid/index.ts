import { isIP } from 'node:net'
import { ZosError } from '#codec'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { factsOfLocal, type GridFacts, gridFacts, localGrid } from './local.ts'
import { isSame, joined } from './way.ts'

const usage = () =>
  new ZosError(
    'zos grid: write zos grid up [--nodes N] [--address IP] | status [--json] | down | export | contract --rpc URL[,URL…]',
    {
      code: 'usage',
    },
  )

async function up(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('grid up', args, {
    nodes: { kind: 'value', short: 'n', about: 'how many nodes (1 to 64)' },
    address: { kind: 'value', about: "this machine's IP address, where others find the overlay's relay (127.0.0.1)" },
  })
  const count = flags.nodes === undefined ? undefined : Number(flags.nodes)
  if (rest.length > 0 || (count !== undefined && !(Number.isInteger(count) && count >= 1 && count <= 64)))
    throw new ZosError('zos grid up: --nodes takes a number from 1 to 64', { code: 'usage' })
  if (flags.address !== undefined && (isIP(flags.address) === 0 || ['0.0.0.0', '::'].includes(flags.address)))
    throw new ZosError(`zos grid up: "${flags.address}" is no IP address that others could dial`, { code: 'usage' })
  const { gridUp } = await import('./up.ts')
  await gridUp(count, flags.address, (line) => process.stderr.write(`zos: ${line}\n`))
  return 0
}

async function status(args: string[]): Promise<number> {
  const { flags } = parseFlags('grid status', args, { json: JSON_FLAG })
  const [{ nodeStates }, { backingState }] = await Promise.all([import('./down.ts'), import('./backing.ts')])
  const local = localGrid()
  const [nodes, chain, hub, relay] = await Promise.all([
    nodeStates(),
    backingState('chain', local?.chainPort ?? 0),
    backingState('hub', local?.hubPort ?? 0),
    backingState('relay', local?.relayPort ?? 0),
  ])
  const facts = { chain: chain ?? null, hub: hub ?? null, relay: relay ?? null, nodes }
  if (flags.json) process.stdout.write(`${JSON.stringify(facts)}\n`)
  else {
    const of = (s: { pid: number; port: number } | undefined) => (s ? `pid ${s.pid}, 127.0.0.1:${s.port}` : 'down')
    process.stdout.write(`chain  ${of(chain)}\nhub    ${of(hub)}\nrelay  ${of(relay)}\n`)
    const rows = nodes.map((n) => [
      n.name,
      n.state,
      n.farm,
      n.country,
      String(n.pid ?? ''),
      Object.entries(n.pids)
        .map(([p, id]) => `${p} ${id ?? '-'}`)
        .join(' '),
    ])
    process.stdout.write(table(['NODE', 'STATE', 'FARM', 'COUNTRY', 'PID', 'PLANES'], rows))
  }
  return 0
}

async function down(): Promise<number> {
  await (await import('./down.ts')).gridDown()
  return 0
}

/** The grid as others reach it: chain and hub of the local one over the overlay, known by their relay's key. */
async function exported(): Promise<GridFacts> {
  const facts = gridFacts(undefined, (await joined())?.facts)
  const local = factsOfLocal()
  if (!local || !isSame(local, facts)) return facts
  const { rpc, hub } = await (await import('./backing.ts')).placesOfServices()
  return { ...facts, rpc: [rpc], hub: [hub] }
}

/** `zos grid …`: the local grid, and how one begins on another chain. */
export default async function grid(args: string[]): Promise<number> {
  const [verb, ...rest] = args
  if (verb === 'up') return up(rest)
  if (verb === 'status') return status(rest)
  if (verb === 'down') return down()
  if (verb === 'contract') return (await import('./contract.ts')).contract(rest)
  if (verb !== 'export') throw usage()
  process.stdout.write(`${JSON.stringify(await exported(), null, 2)}\n`)
  return 0
}
