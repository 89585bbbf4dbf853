// How a grid begins on a chain that is there already, by the commands: contract, farm, nodes.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { codeHashOf, listFarms, listNodes, openEmbedded, openGrid } from '#contract'
import { newKey } from '#keys'
import { contract as begin } from './contract.ts'
import farm from './inventory.ts'
import { register } from './register.ts'

/** What COMMAND prints; `node:test` speaks by the same stream, in bytes. */
async function printed(command: (args: string[]) => Promise<number>, args: string[]): Promise<string> {
  const write = process.stdout.write
  let out = ''
  process.stdout.write = ((part: unknown, ...rest: never[]) => {
    if (typeof part !== 'string') return write.call(process.stdout, part as Uint8Array, ...rest)
    out += part
    return true
  }) as typeof write
  try {
    assert.equal(await command(args), 0)
    return out
  } finally {
    process.stdout.write = write
  }
}

test('zos grid contract, farm create, node register: a grid on any chain; again with the same folder is the same node', {
  timeout: 180_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'zos-begin-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const engine = stack.use(await openEmbedded({ dir: join(dir, 'chain') }))
  const server = await engine.serve({ port: 0 })
  stack.defer(() => server.closeAllConnections())
  const rpc = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const file = join(dir, 'grid.json')
  Object.assign(process.env, { ZOS_HOME: join(dir, 'home'), ZOS_GRID: file, ZOS_PASSPHRASE: 'of a test' })
  const refused = (message: RegExp, command: typeof begin, args: string[]) =>
    assert.rejects(printed(command, args), { message })

  await refused(/^zos grid contract: write /, begin, [])
  await refused(/"ftp:/, begin, ['--rpc', 'ftp://there'])
  await refused(/Ask the chain for eth_chainId: it gives no answer: .*ECONNREFUSED/, begin, [
    '--rpc',
    'http://127.0.0.1:1',
  ])
  // before anything is paid for: nobody could use such a hub
  await refused(/--hub "https:\/\/hub": a hub is at http:/, begin, ['--rpc', rpc, '--hub', 'https://hub'])
  const hub = 'http://127.0.0.1:2'
  const facts = JSON.parse(await printed(begin, ['--rpc', rpc, '--hub', hub, '--peer', 'tcp://127.0.0.1:3']))
  const { contract, since } = facts
  const { chainId, genesis } = engine
  const rest = { format: 'zos-grid/1', chainId, genesis, rpc: [rpc], hub: [hub], peers: ['tcp://127.0.0.1:3'] }
  assert.deepEqual(facts, { ...rest, contract, since })
  await writeFile(file, JSON.stringify(facts))
  const grid = openGrid(engine, contract, { since: BigInt(since) })

  for (const name of ['op', 'other']) await newKey(join(dir, 'home/keys'), name, 'of a test')
  await refused(/^zos farm create: write /, farm, ['create', 'home'])
  assert.equal(await printed(farm, ['create', 'home', '--as', 'op']), 'home: farm 1 of op\n')
  assert.equal((await listFarms(grid))[0]!.name, 'home')

  const home = join(dir, 'n1')
  const place = ['--home', home, '--country', 'BE', '--region', 'BE-VOV', '--latitude', '51.05']
  const size = ['--cpus', '2.5', '--memory', '4g', '--disk', '10g', '--uplink', '2000']
  const node1 = (...more: string[]) => ['n1', ...place, ...size, ...more]
  await refused(/Find farm "away": there is none of that name/, register, node1('--farm', 'away', '--as', 'op'))
  await refused(/--latitude takes degrees/, register, node1('--farm', 'home', '--as', 'op', '--latitude', '91'))
  await refused(/"be" is no country/, register, node1('--farm', 'home', '--as', 'op', '--country', 'be'))
  await refused(/the contract refuses: /, register, node1('--farm', 'home', '--as', 'other'))
  assert.deepEqual(await listNodes(grid), [])
  for (const at of ['home', '1'])
    assert.equal(JSON.parse(await printed(register, node1('--farm', at, '--as', 'op', '--json'))).id, 1)
  const [node, ...more] = await listNodes(grid)
  assert.deepEqual(more, [])
  const { name, country, region, latitude, capacity, attributes } = JSON.parse(JSON.stringify(node))
  assert.deepEqual({ country, region, latitude }, { country: 'BE', region: 'BE-VOV', latitude: 51.05 })
  const lanes = { cpu: 2500, ram: 4096, ssd: 10_240, hdd: 0, uplink: 2000, gpu: 0, ipv4: 0 }
  assert.deepEqual([name, capacity, attributes.name], [undefined, lanes, 'n1'])
  const config = JSON.parse(await readFile(join(home, 'node.json'), 'utf8'))
  const codeHash = await codeHashOf(grid)
  const { secret, ...known } = config
  const pins = { chainId, genesis, contract, codeHash, since }
  const { owner } = (await listFarms(grid))[0]!
  const given = { owner, country: 'BE', region: 'BE-VOV', capacity: lanes }
  assert.deepEqual(known, { format: 'zos-node/1', name: 'n1', node: 1, ...pins, ...given })
  assert.equal(secret, (await readFile(join(home, 'identity'), 'utf8')).trim())
})
