import { resolve } from 'node:path'
import { ZosError } from '#codec'
import { parseFlags } from '../flags.ts'
import { checkPlaces } from './places.ts'

/** `zos node run`: one node in the foreground. Everything it contacts is named here. */
async function run(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('node run', args, {
    home: { kind: 'value', about: 'its folder' },
    rpc: { kind: 'value', about: 'URL[,URL…] of the chain; over the overlay mycelium://[ADDRESS]/SERVICE' },
    hub: { kind: 'value', about: 'URL[,URL…] of the hubs, likewise' },
    listen: { kind: 'value', about: "tcp://IP:PORT[,…] for the overlay's peers" },
    peer: { kind: 'value', about: 'tcp://IP:PORT[,…] of overlay peers' },
    relayer: { kind: 'value', about: "overlay address of who posts what this node signs, as the grid's file names it" },
  })
  if (!flags.home || !flags.rpc || !flags.hub || rest.length > 0)
    throw new ZosError('zos node run: write zos node run --home DIR --rpc URL[,URL…] --hub URL[,URL…]', {
      code: 'usage',
    })
  const { readConfig, runNode } = await import('#node')
  const home = resolve(flags.home)
  // refused here with words, not by a plane that cannot start
  await readConfig(home)
  const log = (line: string) => process.stderr.write(`${new Date().toISOString()} node: ${line}\n`)
  const list = (text: string | undefined) => (text ? text.split(',') : [])
  const [rpc, hub, listen, peers] = [flags.rpc, flags.hub, flags.listen, flags.peer].map(list) as [
    string[],
    string[],
    string[],
    string[],
  ]
  const { relayer } = flags
  await checkPlaces('node run', { rpc, hub, ends: [...listen, ...peers], relayer })
  await runNode({ home, rpc, hub, listen, peers, ...(relayer === undefined ? {} : { relayer }), log })
  return 0
}

export default async function node(args: string[]): Promise<number> {
  const [verb = '', ...rest] = args
  if (verb === 'run') return run(rest)
  if (verb === 'register') return (await import('./register.ts')).register(rest)
  if (verb === 'reclaim') return (await import('./reclaim.ts')).reclaim(rest)
  if (verb === 'state') return (await import('./reclaim.ts')).state(rest)
  const { nodes } = await import('./inventory.ts')
  return nodes(verb, rest)
}
