import { reasonOf, ZosError } from '#codec'
import { essence, movesWithHead, pinned } from './agree.ts'
import { callRpc, type RpcFault } from './http.ts'
import type { Engine, Head, Hex } from './types.ts'

export type ConnectOptions = {
  /** How many must agree; default: more than half. */
  k?: number
  /** Milliseconds a node may take. Default 10 s. */
  timeout?: number
}

/** Answers that need no agreement: estimates, which the contract's own answer corrects. */
const ANY = new Set(['eth_feeHistory', 'eth_estimateGas'])

/** Quantities in which honest nodes differ: one that K nodes reach is above none that is told by an honest one. */
const isMeasured = (method: string, params: unknown[]): boolean =>
  ['eth_gasPrice', 'eth_maxPriorityFeePerGas'].includes(method) ||
  (method === 'eth_getTransactionCount' && params[1] === 'pending')

const isFault = (error: unknown): error is RpcFault => typeof (error as { code?: unknown } | null)?.code === 'number'

type Block = { number: Hex; hash: Hex; timestamp: Hex }

type Vote = { value: unknown } | { fault: RpcFault }

/**
 * Any EVM network by its RPC URLs (http, https, unix): an answer counts when K of them give it. Fewer than K liars cannot
 * invent anything; those that omit, lag or stall are outvoted or waited for until their time is over. Nodes check
 * consent themselves in any case.
 */
export async function connectRpc(urls: string[], options: ConnectOptions = {}): Promise<Engine> {
  const k = options.k ?? Math.floor(urls.length / 2) + 1
  const timeout = options.timeout ?? 10_000
  if (urls.length === 0 || k < 1 || k > urls.length) {
    throw new ZosError(`Connect to the chain: ${k} of ${urls.length} RPC URLs cannot agree; give more`, {
      code: 'bad-rpc',
    })
  }
  const ask = (url: string, method: string, params: unknown[]) => callRpc(url, method, params, timeout)

  /** Resolves with the first answer K nodes share. */
  const agree = (method: string, params: unknown[], among = urls): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const votes = new Map<string, { count: number; vote: Vote }>()
      const silent: string[] = []
      let left = among.length
      const count = (said: string, vote: Vote) => {
        const entry = votes.get(said) ?? { count: 0, vote }
        entry.count++
        votes.set(said, entry)
        if (entry.count !== k) return
        if ('fault' in vote) reject(vote.fault)
        else resolve(vote.value)
      }
      for (const url of among) {
        ask(url, method, params)
          .then(
            (value) => count(essence(method, value), { value }),
            (error: unknown) => {
              // a revert is an answer too, and so is a refusal with the same words
              if (isFault(error)) count(`fault ${error.code} ${String(error.data ?? error.message)}`, { fault: error })
              else silent.push(`${url}: ${reasonOf(error)}`)
            },
          )
          .finally(() => {
            if (--left === 0) reject(disagree(method, votes.size, silent))
          })
      }
    })
  const disagree = (method: string, answers: number, silent: string[]) =>
    new ZosError(
      `Ask the chain for ${method}: ${
        urls.length === 1 && answers === 0
          ? `it gives no answer: ${silent[0] ?? urls[0]}`
          : `no ${k} of ${urls.length} RPC nodes agree (${answers} different answers, ${silent.length} silent${silent[0] ? `: ${silent[0]}` : ''})`
      }`,
      { code: 'rpc-disagree', kind: 'node', details: { silent } },
    )

  /** The highest block number that K nodes have reached, and what each node said. */
  const reached = async (method: string, params: unknown[], numberOf: (v: unknown) => number) => {
    const answers = await Promise.allSettled(urls.map((url) => ask(url, method, params)))
    const values = answers.flatMap((a) => (a.status === 'fulfilled' && a.value !== null ? [a.value] : []))
    const silent = answers.flatMap((a) => (a.status === 'rejected' ? [reasonOf(a.reason)] : []))
    const number = values.map(numberOf).sort((a, b) => b - a)[k - 1]
    if (number === undefined || !Number.isSafeInteger(number)) throw disagree(method, values.length, silent)
    return { number, values }
  }
  const latest = async () => (await reached('eth_blockNumber', [], (v) => Number(v))).number
  const measure = async (method: string, params: unknown[]): Promise<string> =>
    `0x${(await reached(method, params, (v) => Number(v))).number.toString(16)}`

  const any = async (method: string, params: unknown[]): Promise<unknown> => {
    let last: unknown
    for (const url of urls) {
      try {
        return await ask(url, method, params)
      } catch (error) {
        last = error
        // what reverts on one reverts on all, and viem wants the reason
        if (isFault(error) && error.data !== undefined) throw error
      }
    }
    throw last
  }

  /** Offers a transaction to all; one that takes it suffices, for it spreads it. */
  const offer = async (params: unknown[]): Promise<unknown> => {
    const answers = await Promise.allSettled(urls.map((url) => ask(url, 'eth_sendRawTransaction', params)))
    const taken = answers.find((a) => a.status === 'fulfilled')
    if (taken) return taken.value
    // why it was refused says more than that one is away
    const reasons = answers.flatMap((a) => (a.status === 'rejected' ? [a.reason as unknown] : []))
    throw reasons.find(isFault) ?? reasons[0]
  }

  const chainId = Number(await agree('eth_chainId', []))
  const genesis = ((await agree('eth_getBlockByNumber', ['0x0', false])) as { hash: Hex }).hash
  return {
    chainId,
    genesis,
    async request({ method, params }) {
      const list = (params as unknown[] | undefined) ?? []
      if (method === 'eth_sendRawTransaction') return offer(list)
      if (ANY.has(method)) return any(method, list)
      if (method === 'eth_blockNumber' || isMeasured(method, list)) return measure(method, list)
      // one alone cannot be behind itself
      if (urls.length === 1 || !movesWithHead(method, list)) return agree(method, list)
      return agree(method, pinned(method, list, await latest()))
    },
    async finalized(): Promise<Head> {
      const method = 'eth_getBlockByNumber'
      const { number, values } = await reached(method, ['finalized', false], (v) => Number((v as Block).number))
      // mostly those that are there have said the same block already; else each is asked for it
      const there = values.filter((v) => Number((v as Block).number) === number)
      const same = there.filter((v) => essence(method, v) === essence(method, there[0]))
      const block = same.length >= k ? same[0] : await agree(method, [`0x${number.toString(16)}`, false])
      if (!block) throw disagree(method, 1, [])
      const { hash, timestamp } = block as Block
      return { number, hash, timestamp: Number(timestamp) }
    },
    async [Symbol.asyncDispose]() {},
  }
}
