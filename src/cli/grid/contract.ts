import { ZosError } from '#codec'
import { coins, connectRpc, deployContracts, openRelayer } from '#contract'
import { parseFlags } from '../flags.ts'
import type { GridFacts } from './local.ts'
import { checkPlaces } from './places.ts'
import { relayerKey } from './relayer_key.ts'

const listOf = (text: string | undefined): string[] => (text ? text.split(',') : [])

/**
 * `zos grid contract`: puts the contract on any EVM network, once, and prints what describes the grid that begins with it. Whoever
 * does it gets no right by it. Nothing is printed unless the contract is there.
 */
export async function contract(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('grid contract', args, {
    rpc: { kind: 'value', about: 'URL[,URL…] of the network; by most of them an answer counts' },
    hub: { kind: 'value', about: 'URL[,URL…] of the hubs that members and nodes will use' },
    peer: { kind: 'value', about: 'tcp://IP:PORT[,…] of overlay peers' },
    relayer: { kind: 'value', about: 'overlay address of who will post what nodes sign' },
  })
  const [rpc, hub, peers] = [flags.rpc, flags.hub, flags.peer].map(listOf) as [string[], string[], string[]]
  if (rpc.length === 0 || rest.length > 0)
    throw new ZosError('zos grid contract: write zos grid contract --rpc URL[,URL…] [--hub URL[,URL…]] > FILE', {
      code: 'usage',
    })
  await checkPlaces('grid contract', { rpc, hub, ends: peers, relayer: flags.relayer })
  await using engine = await connectRpc(rpc)
  const relayer = openRelayer(relayerKey())
  const say = (line: string) => process.stderr.write(`zos: ${line}\n`)
  say(`chain ${engine.chainId}, genesis ${engine.genesis}; ${relayer.account.address} pays`)
  const { contract, since, gas, cost } = await deployContracts(engine, relayer)
  say(`contract ${contract} in block ${since}: ${gas} gas, ${coins(cost)} of the chain's coin`)
  const facts: GridFacts = {
    format: 'zos-grid/1',
    chainId: engine.chainId,
    genesis: engine.genesis,
    contract,
    since: Number(since),
    rpc,
    hub,
    peers,
    ...(flags.relayer === undefined ? {} : { relayer: flags.relayer }),
  }
  process.stdout.write(`${JSON.stringify(facts, null, 2)}\n`)
  return 0
}
