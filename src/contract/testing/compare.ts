// Asks the contract, and compares it with the model (model.ts).
import assert from 'node:assert/strict'
import { decodeFunctionResult, encodeFunctionData } from 'viem'
import { unpack } from '../actions/nodes.ts'
import { openRelayer } from '../actions/relayer.ts'
import { ledger } from '../artifact.ts'
import type { Key } from '../keys/keys.ts'
import * as model from './model.ts'
import type { World } from './world.ts'

type Hex = `0x${string}`

/** A walk's call: the contract's refusal, or undefined when it was taken. */
export type Call = (name: string, args: unknown[], from?: Key) => Promise<string | undefined>

/** Calls without viem's waiting: asked first, then sent with a nonce of our own. */
export function caller(w: World): Call {
  const nonces = new Map<string, number>()
  return async (functionName, args, from) => {
    const data = encodeFunctionData({ abi: ledger.abi, functionName, args })
    const { account } = from ? openRelayer(`0x${Buffer.from(from.secret).toString('hex')}`) : w.relayer
    const to = w.grid.contract
    const ask = { method: 'eth_call', params: [{ from: account.address, to, data }, 'latest'] }
    const refused = await w.grid.engine.request(ask).then(
      () => undefined,
      (error: { data?: unknown; message: string }) => String(error.data ?? error.message),
    )
    if (refused !== undefined) return refused
    const count = { method: 'eth_getTransactionCount', params: [account.address] }
    const nonce = nonces.get(account.address) ?? Number(await w.grid.engine.request(count))
    const fees = { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n }
    const { chainId } = w.grid.engine
    const raw = await account.signTransaction({ type: 'eip1559', chainId, nonce, gas: 4_000_000n, to, data, ...fees })
    const hash = await w.grid.engine.request({ method: 'eth_sendRawTransaction', params: [raw] })
    nonces.set(account.address, nonce + 1)
    const receipt = await w.grid.engine.request({ method: 'eth_getTransactionReceipt', params: [hash] })
    assert.equal((receipt as { status: string }).status, '0x1', `${functionName}: taken when asked, reverted when sent`)
    return undefined
  }
}

async function view(w: World, functionName: string, args: unknown[]): Promise<readonly unknown[]> {
  const data = encodeFunctionData({ abi: ledger.abi, functionName, args })
  const answer = (await w.grid.engine.request({
    method: 'eth_call',
    params: [{ to: w.grid.contract, data }, 'latest'],
  })) as Hex
  return decodeFunctionResult({ abi: ledger.abi, functionName, data: answer }) as readonly unknown[]
}

export async function compareDeployment(w: World, m: model.Model, id: Hex): Promise<void> {
  const d = m.deployments.get(id)
  if (!d) return
  const row = await view(w, 'deployments', [id])
  const [sequence, version, expiry, frozenUntil, state] = row.slice(0, 5).map(Number)
  assert.deepEqual(
    { sequence, version, expiry, frozenUntil, state, head: row[6], specRoot: row[7] },
    {
      sequence: d.sequence,
      version: d.version,
      expiry: d.expiry,
      frozenUntil: d.frozenUntil,
      state: d.state,
      head: d.head,
      specRoot: d.specRoot,
    },
  )
  const keys = [...d.slots.keys()].reduce((bits, k) => bits | (1n << BigInt(k)), 0n)
  assert.equal(await view(w, 'placed', [id]), keys, 'what is placed')
  for (const k of [0, 1, 2, 128, 129]) {
    const [booked, node, noticed] = await view(w, 'bookings', [id, k])
    const known: model.Place | undefined = d.slots.get(k)
    const p: model.Place | undefined = known?.reclaimed ? undefined : known
    assert.deepEqual([node, noticed], p ? [p.node, p.noticed ?? 0] : [0, 0], `slot ${k} of contract and model`)
    if (p) for (const l of model.LANES) assert.equal(unpack(booked as bigint)[l], p.booked[l])
    const [, from, until] = await view(w, 'bookings', [id, k + 256])
    const l = d.leaving.get(k)
    assert.deepEqual([from, until], l ? [l.node, l.until] : [0, 0], `what slot ${k} leaves`)
  }
}

/** I1 and I2, and I6 with them: what is booked is the sum of what is live, on every node, and never above what there is. */
export async function compareNodes(w: World, m: model.Model): Promise<void> {
  const sums = new Map<number, Record<string, number>>()
  const add = (node: number, r: Record<string, number>) => {
    const sum = sums.get(node) ?? { cpu: 0, ram: 0, ssd: 0 }
    for (const l of model.LANES) sum[l]! += r[l]!
    sums.set(node, sum)
  }
  for (const d of m.deployments.values()) {
    for (const p of d.slots.values()) if (!p.reclaimed) add(p.node, p.booked)
    for (const l of d.leaving.values()) add(l.node, l.booked)
  }
  for (const [id, n] of m.nodes) {
    const row = await view(w, 'nodes', [id])
    const used = unpack(row[7] as bigint)
    for (const l of model.LANES) {
      assert.ok(used[l] <= n.capacity[l], 'I1')
      assert.equal(used[l], sums.get(id)?.[l] ?? 0, `I2: ${l} of node ${id}`)
      assert.equal(used[l], n.used[l], 'the model booked the same')
    }
  }
}
