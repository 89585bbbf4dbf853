import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { until } from '../harness.ts'
import { addressOf, startTalkers, type Talkers } from '../talkers.ts'

let grid: Talkers
before(async () => {
  grid = await startTalkers(2, ['team', 'others'])
  await grid.deploy('pair', 'team', [
    ['one', 'node1', '80'],
    ['two', 'node2', '80, 8080'],
  ])
  await grid.deploy('third', 'others', [['web', 'node1', '80']])
})
after(() => grid?.[Symbol.dispose]())

const fetched = (slot: string, url: string, group = 'team') => grid.run(slot, group, `wget -q -O - ${url}`)
const address = (slot: string) => addressOf(grid, slot, 'team')

test('two containers on two nodes speak HTTP both ways, by name and by address', async () => {
  assert.equal(await fetched('pair/0', 'http://two.pair.zos/'), 'two-1\nexit 0\n')
  assert.equal(await fetched('pair/1', 'http://one.pair.zos/'), 'one-0\nexit 0\n')
  assert.equal(await fetched('pair/1', 'http://one/'), 'one-0\nexit 0\n', 'a short name is of the own deployment')
  assert.equal(await fetched('pair/0', `http://[${await address('pair/1')}]/`), 'two-1\nexit 0\n')
  assert.equal(await fetched('pair/1', `http://[${await address('pair/0')}]/`), 'one-0\nexit 0\n')
})

test('they do so by IPv4 as well, with programs that know nothing else', async () => {
  assert.equal(await fetched('pair/0', 'http://10.144.0.3/'), 'two-1\nexit 0\n')
  assert.match(await grid.run('pair/1', 'team', 'ping -4 -c 1 -W 5 one'), /from 10\.144\.0\.2: /)
  // bound to an IPv4 address alone, reached by one
  await grid.run('pair/1', 'team', 'httpd -p 10.144.0.3:8080 -h /www')
  assert.equal(await fetched('pair/0', 'http://10.144.0.3:8080/'), 'two-1\nexit 0\n')
})

test('a third, of another group, is refused, and knows no names', async () => {
  assert.match(await fetched('third/0', 'http://two.pair.zos/', 'others'), /bad address.*\nexit 1/)
  assert.match(await fetched('third/0', `http://[${await address('pair/1')}]/`, 'others'), /Permission denied\nexit 1/)
})

test('deployments of one group reach each other where both their specs say so, and nowhere else', async () => {
  // names the store, which does not run yet, and is not deployed again after it
  await grid.deploy('shop', 'team', [
    ['web', 'node1', '80', 'reach: [store/db]'],
    ['idle', 'node1', '80'],
  ])
  const rule = 'allow: [{ from: [shop/web, "@people"], ports: [80] }]'
  await grid.deploy('store', 'team', [['db', 'node2', '80, 8080', rule]])
  const [db, web] = [await address('store/0'), await address('shop/0')]
  assert.match(await fetched('shop/1', 'http://db.store.zos/'), /bad address.*\nexit 1/)
  const said = await until('the store to let it in', 60, async () => {
    const page = await grid.run('shop/0', 'team', 'timeout 15 wget -q -O - http://db.store.zos/')
    return page.includes('exit 0') && page
  })
  assert.equal(said, 'db-0\nexit 0\n')
  await grid.run('store/0', 'team', 'httpd -p 8080 -h /www')
  assert.match(
    await fetched('shop/0', 'http://db.store.zos:8080/'),
    /Permission denied\nexit 1/,
    'no rule has that port',
  )
  assert.match(await fetched('shop/1', `http://[${db}]/`), /Permission denied\nexit 1/, 'not the one that was named')
  assert.match(await fetched('store/0', `http://[${web}]/`), /Permission denied\nexit 1/, 'nor the other way')
  // the shop, which is left as it is, was told of one db alone
  await grid.deploy('store', 'team', [['db', 'node2, node2', '80, 8080', rule, 'replicas: 2']])
  const later = await until('the later replica to be reached', 60, async () => {
    const page = await grid.run('shop/0', 'team', 'timeout 15 wget -q -O - http://db-1.store.zos/')
    return page.includes('exit 0') && page
  })
  assert.equal(later, 'db-1\nexit 0\n')
  const second = await address('store/1')
  assert.match(await fetched('shop/1', `http://[${second}]/`), /Permission denied\nexit 1/, 'by who is named alone')
})

test('a network plane that is killed takes nothing with it: the same workloads, the same addresses', async () => {
  const before = await address('pair/0')
  const [first] = grid.nodes()
  // a connection that is open meanwhile, its client waiting
  const waits = encodeURIComponent('touch /asked; until [ -e /go ]; do sleep 0.2; done; echo late')
  const late = fetched('pair/0', `'http://two/cgi-bin/run?${waits}'`)
  await until('it to be asked', 60, async () => /exit 0/.test(await grid.run('pair/1', 'team', 'test -e /asked')))
  process.kill(first!.pids.network, 'SIGKILL')
  assert.equal(await address('pair/0'), before)
  await until('the network plane', 30, () => {
    const { pids } = grid.nodes().find((n) => n.name === first!.name)!
    return pids.network && pids.network !== first!.pids.network && pids.compute === first!.pids.compute
  })
  await grid.run('pair/1', 'team', 'touch /go')
  assert.equal(await late, 'late\nexit 0\nexit 0\n')
  await until('both ways again', 30, async () => {
    const [there, back] = await Promise.all([fetched('pair/0', 'http://two/'), fetched('pair/1', 'http://one/')])
    return there === 'two-1\nexit 0\n' && back === 'one-0\nexit 0\n'
  })
})
