import { canonicalJson } from '#codec'

type Json = Record<string, unknown>

/** Where a method's block parameter is. */
const TAG: Record<string, number> = {
  eth_call: 1,
  eth_getTransactionCount: 1,
  eth_getBalance: 1,
  eth_getCode: 1,
  eth_getProof: 2,
  eth_getBlockByNumber: 0,
}

/** Whether a call speaks of the moving head, so that honest nodes may differ. */
export function movesWithHead(method: string, params: unknown[]): boolean {
  if (method === 'eth_getLogs') {
    const f = params[0] as Json | undefined
    return f?.blockHash === undefined && [f?.fromBlock, f?.toBlock].some((t) => moving(t ?? 'latest'))
  }
  const n = TAG[method]
  return n !== undefined && moving(params[n] ?? 'latest')
}

const moving = (tag: unknown) => typeof tag === 'string' && ['latest', 'pending', 'safe', 'finalized'].includes(tag)

/** The same call at block NUMBER instead of "latest". */
export function pinned(method: string, params: unknown[], number: number): unknown[] {
  const at = `0x${number.toString(16)}`
  if (method === 'eth_getLogs') {
    const f = { ...(params[0] as Json) }
    for (const side of ['fromBlock', 'toBlock']) if (moving(f[side] ?? 'latest')) f[side] = at
    return [f, ...params.slice(1)]
  }
  const copy = [...params]
  copy[TAG[method]!] = at
  return copy
}

/** What of an answer must be the same for two nodes to agree: implementations add fields of their own. */
export function essence(method: string, result: unknown): string {
  if (result === null || typeof result !== 'object') return canonicalJson(result ?? null)
  const r = result as Json
  if (method.startsWith('eth_getBlockBy')) {
    // the hash covers the others, but nobody computes it: each that is read has to be agreed on
    const { hash, number, stateRoot, timestamp, baseFeePerGas = null } = r
    return canonicalJson({ hash, number, stateRoot, timestamp, baseFeePerGas })
  }
  const log = (l: Json) => [l.address, l.topics, l.data, l.blockHash, l.transactionHash, l.logIndex]
  if (method === 'eth_getLogs') return canonicalJson((result as Json[]).map(log))
  if (method === 'eth_getTransactionReceipt') {
    const { blockHash, blockNumber, status, gasUsed, effectiveGasPrice = null, contractAddress = null } = r
    const said = [blockHash, blockNumber, status, gasUsed, effectiveGasPrice, contractAddress]
    return canonicalJson([...said, (r.logs as Json[]).map(log)])
  }
  // whoever reads one recovers its signer
  if (method === 'eth_getTransactionByHash') {
    const parts = ['hash', 'from', 'nonce', 'gas', 'maxFeePerGas', 'maxPriorityFeePerGas', 'v', 'r', 's', 'input']
    return canonicalJson(parts.map((part) => r[part] ?? null))
  }
  return canonicalJson(result)
}
