import { ZosError } from '#codec'
import { createFarm, listFarms, readPublicKey } from '#contract'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { nodesOf, openContext, type PlacedNode } from './context.ts'
import { keysDir } from './local.ts'

const seenText = (n: PlacedNode) => (n.seen === 0 ? 'never' : new Date(n.seen * 1000).toISOString())
const view = (n: PlacedNode) => ({
  id: n.id,
  name: n.name,
  farm: n.farmName,
  country: n.country,
  region: n.region,
  latitude: n.latitude,
  longitude: n.longitude,
  state: n.state,
  seen: n.seen,
  capacity: n.capacity,
  used: n.used,
})
const row = (n: PlacedNode) => [
  String(n.id),
  n.name,
  n.farmName,
  n.country,
  n.state,
  `${n.used.cpu / 1000} of ${n.capacity.cpu / 1000}`,
  `${n.used.ram} of ${n.capacity.ram} MiB`,
  `${n.used.ssd} of ${n.capacity.ssd} MiB`,
  seenText(n),
]
const HEADER = ['ID', 'NODE', 'FARM', 'COUNTRY', 'STATE', 'CPUS', 'MEMORY', 'DISK', 'SEEN']

function one<T extends { name: string; id: number }>(what: string, all: T[], name: string | undefined): T {
  const found = all.find((x) => x.name === name || String(x.id) === name)
  if (found) return found
  throw new ZosError(`Show ${what} "${name ?? ''}": there is none of that name; "zos ${what} ls" lists them`, {
    code: `no-${what}`,
  })
}

/** `zos node ls|show`: as the chain has them. */
export async function nodes(verb: string, args: string[]): Promise<number> {
  const { flags, rest } = parseFlags(`node ${verb}`, args, { json: JSON_FLAG })
  if (verb !== 'ls' && verb !== 'show')
    throw new ZosError(
      'zos node: write zos node ls | show NODE | state NODE … | reclaim NODE … | register NAME … | run …',
      { code: 'usage' },
    )
  await using context = await openContext()
  const all = await nodesOf(context)
  if (verb === 'ls')
    process.stdout.write(flags.json ? `${JSON.stringify(all.map(view))}\n` : table(HEADER, all.map(row)))
  else {
    const node = one('node', all, rest[0])
    process.stdout.write(flags.json ? `${JSON.stringify(view(node))}\n` : table(HEADER, [row(node)]))
  }
  return 0
}

/** `zos farm ls|show|create`. Who owns a farm signs for its nodes; anyone may make one. */
export default async function farm(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('farm', args, {
    as: { kind: 'value', about: 'with create: the key that will own it' },
    json: JSON_FLAG,
  })
  const [verb, name] = rest
  if (verb === 'create') return create(name, flags.as, flags.json)
  if (verb !== 'ls' && verb !== 'show')
    throw new ZosError('zos farm: write zos farm ls | show FARM | create NAME --as KEY', { code: 'usage' })
  await using context = await openContext()
  const [farms, all] = await Promise.all([listFarms(context.grid), nodesOf(context)])
  const views = farms.map((f) => ({ ...f, nodes: all.filter((n) => n.farm === f.id).map((n) => n.name) }))
  const shown = verb === 'ls' ? views : [one('farm', views, name)]
  const rows = shown.map((f) => [String(f.id), f.name, f.owner, f.nodes.join(' ')])
  if (flags.json) process.stdout.write(`${JSON.stringify(verb === 'ls' ? shown : shown[0])}\n`)
  else process.stdout.write(table(['ID', 'FARM', 'OWNER', 'NODES'], rows))
  return 0
}

async function create(name: string | undefined, as: string | undefined, json: boolean): Promise<number> {
  if (!name || !as || !/^[a-z0-9][a-z0-9._-]{0,31}$/i.test(name))
    throw new ZosError(
      'zos farm create: write zos farm create NAME --as KEY; a name has 1 to 32 of a–z, 0–9, ".", "_", "-"',
      {
        code: 'usage',
      },
    )
  const { address } = await readPublicKey(keysDir(), as)
  if (address.length !== 42)
    throw new ZosError(
      `zos farm create: "${as}" is a passkey, and a farm's owner signs with a key of Ethereum's kind`,
      {
        code: 'usage',
      },
    )
  await using context = await openContext()
  const id = await createFarm(context.grid, context.relayer, address, name)
  process.stdout.write(json ? `${JSON.stringify({ id, name, owner: address })}\n` : `${name}: farm ${id} of ${as}\n`)
  return 0
}
