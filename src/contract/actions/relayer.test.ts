// Carrying transactions where gas costs something: a base fee that climbs, a process that was killed, gaps, an empty purse.
import assert from 'node:assert/strict'
import test from 'node:test'
import { ZosError } from '#codec'
import { until } from '#sys'
import { type Market, openMarket } from '../testing/market.ts'
import { coins } from './fees.ts'
import { openRelayer, send } from './relayer.ts'

type Hex = `0x${string}`
const SECRET = `0x${'11'.repeat(32)}` as Hex
const TO = `0x${'22'.repeat(20)}` as Hex
const call = (n: number) => ({ to: TO, data: `0x0${n}` as Hex })
const GWEI = 10n ** 9n
const open = (many = false) => openRelayer(SECRET, { many, patience: 50 })
const offered = (market: Market, nonce: number) => until('it to be offered', 20_000, () => market.pool.get(nonce), 5)
const dataOf = (market: Market) => market.mined.map(({ data }) => data)

test('the base fee doubles while a transaction waits: more is offered for the same number until it is in a block', async () => {
  const market = openMarket()
  const done = send(market.engine, open(), call(1))
  await offered(market, 0)
  // more may have been offered since
  assert.equal(market.offers[0]!.fee, 3n * GWEI, 'twice the base fee, and the tip')
  for (const base of [4n, 16n, 64n]) {
    market.base = base * GWEI
    market.mine()
    assert.deepEqual(market.mined, [], 'too little was offered')
    await until('more to be offered', 20_000, () => market.pool.get(0)!.fee > market.base || undefined, 5)
  }
  market.mine()
  const { gas, cost } = await done
  assert.deepEqual(dataOf(market), ['0x01'])
  assert.ok(cost > gas * 64n * GWEI && cost <= gas * market.mined[0]!.fee, `${cost}`)
})

test('what a killed process left stuck is swept away by nothing at all, and what comes after it goes on', async () => {
  const market = openMarket()
  for (const nonce of [0, 1]) market.leave(nonce, 90n * GWEI)
  market.base = 100n * GWEI
  const done = send(market.engine, open(), call(3))
  assert.equal((await offered(market, 2)).data, '0x03', 'what waits is counted')
  await until(
    'them to be outbid',
    20_000,
    () => [0, 1].every((n) => market.pool.get(n)!.fee > market.base) || undefined,
    5,
  )
  market.mine()
  await done
  assert.deepEqual(dataOf(market), ['0x', '0x', '0x03'])
  assert.deepEqual(
    market.mined.map(({ nonce }) => nonce),
    [0, 1, 2],
  )
})

test('one that was never taken leaves a gap; the next fills it, and where none comes it is filled all the same', async () => {
  for (const comes of [true, false]) {
    const market = openMarket()
    const relayer = open(true)
    const no = Promise.withResolvers<Error>()
    market.deaf.push(no.promise)
    const [first, second] = [1, 2].map((n) => send(market.engine, relayer, call(n)))
    await offered(market, 1)
    no.resolve(Object.assign(new Error('transaction type not supported'), { code: -32000 }))
    await assert.rejects(first!, /transaction type not supported/)
    const third = comes ? send(market.engine, relayer, call(3)) : undefined
    await offered(market, 0)
    market.mine()
    await second
    await third
    assert.deepEqual(dataOf(market), [comes ? '0x03' : '0x', '0x02'])
  }
})

test('an empty purse is named with what it has and needs, before anything is offered; once funded it goes on', async () => {
  const market = openMarket()
  const relayer = open()
  market.balance = 10_000n * GWEI
  const error = (await send(market.engine, relayer, call(1)).catch((e: unknown) => e)) as ZosError
  assert.equal(error.code, 'no-funds')
  const { address } = relayer.account
  assert.match(
    error.message,
    new RegExp(`^Send transaction: ${address}, which pays .* has 0\\.00001 of the 0\\.0000756 that`),
  )
  assert.equal(market.pool.size, 0)
  // spent by another between the look and the offer
  market.balance = 10n ** 18n
  market.deaf.push(Object.assign(new Error('insufficient funds for gas * price + value'), { code: -32000 }))
  await assert.rejects(send(market.engine, relayer, call(1)), { code: 'no-funds' })
  const done = send(market.engine, relayer, call(1))
  await offered(market, 0)
  market.mine()
  await done
  assert.deepEqual(dataOf(market), ['0x01'])
})

test('a number that another process of the account took first: made anew with the next, or refused as the chain is now', async () => {
  const market = openMarket()
  const relayer = open()
  const done = send(market.engine, relayer, call(1))
  await offered(market, 0)
  market.other()
  await until('it to be offered anew', 20_000, () => market.pool.get(1), 5)
  market.mine()
  await done
  assert.deepEqual(dataOf(market), ['0x01'])
  const late = send(market.engine, relayer, call(2))
  await offered(market, 2)
  market.other()
  market.refuses = new ZosError('there is nothing more to do', { code: 'contract-WrongState' })
  await assert.rejects(late, { code: 'contract-WrongState' })
})

test('a pool that forgets it, an RPC that does not answer: it is offered again, once each number', async () => {
  const market = openMarket()
  market.deaf.push(new ZosError('Call "x": no answer within 10 s', { code: 'rpc-unreachable' }))
  const done = send(market.engine, open(), call(1))
  await offered(market, 0)
  market.pool.clear()
  await offered(market, 0)
  market.mine()
  await done
  assert.deepEqual(dataOf(market), ['0x01'])
})

test('coins are never rounded to nothing', () => {
  const said = [0n, 1n, GWEI, 10n ** 18n, 15n * 10n ** 17n, 10_656_375_616_000_000n].map(coins)
  assert.deepEqual(said, ['0', '0.000000001', '0.000000001', '1', '1.5', '0.010656376'])
})
