// A chain and a hub that lie, for tests: the real ones behind something that changes what they say.
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type AbiEvent, encodeAbiParameters, encodeEventTopics, getAbiItem, toEventSelector } from 'viem'
import { consentArgs } from '../src/contract/actions/consent.ts'
import { ledger } from '../src/contract/artifact.ts'
import { deploymentId, type Grid, type Signature, type Transition } from '../src/contract/index.ts'
import type { Lie } from '../src/contract/testing/lie.ts'

export { type Lie, lyingEngine } from '../src/contract/testing/lie.ts'

type Hex = `0x${string}`
export type Log = { topics: Hex[]; data: Hex; blockNumber: Hex; [field: string]: unknown }

export const topicOf = (event: string): Hex => toEventSelector(getAbiItem({ abi: ledger.abi, name: event }) as AbiEvent)

/** A lie about events alone. */
export const aboutLogs =
  (change: (logs: Log[], topics: (Hex | Hex[] | null)[]) => Log[]): Lie =>
  (method, params, answer) =>
    method === 'eth_getLogs' ? change(answer as Log[], (params[0] as { topics: Hex[] }).topics ?? []) : answer

/** The event a contract would emit that took this step, whatever its signatures. */
export function approvedLog(grid: Grid, t: Transition, signatures: Signature[], at: bigint): Log {
  const args = { id: deploymentId(t.group, t.name), group: t.group }
  const { inputs } = getAbiItem({ abi: ledger.abi, name: 'Approved' }) as AbiEvent
  const plain = inputs.filter((i) => !i.indexed)
  return {
    address: grid.contract,
    topics: encodeEventTopics({ abi: ledger.abi, eventName: 'Approved', args }) as Hex[],
    data: encodeAbiParameters(plain, [t, ...consentArgs(signatures)]),
    blockNumber: `0x${at.toString(16)}`,
    blockHash: `0x${'ab'.repeat(32)}`,
    logIndex: '0x0',
    transactionIndex: '0x0',
    transactionHash: `0x${'cd'.repeat(32)}`,
    removed: false,
  }
}

export type Proxy = AsyncDisposable & { url: string }

async function listen(handle: (req: IncomingMessage, res: ServerResponse) => void): Promise<Proxy> {
  const server: Server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

function ask(url: string, req: IncomingMessage, body: Buffer): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length }
    const out = request(new URL(req.url ?? '/', url), { method: req.method ?? 'GET', headers }, (res) =>
      bodyOf(res).then((b) => resolve({ status: res.statusCode ?? 0, body: b }), reject),
    )
    out.on('error', reject)
    out.end(body)
  })
}

/** An RPC in front of the chain at URL. LIE: how it lies now; 'stall' answers nothing. */
export const rpcProxy = (url: string, lie: () => Lie | 'stall'): Promise<Proxy> =>
  listen((req, res) => {
    const serve = async () => {
      const body = await bodyOf(req)
      const now = lie()
      if (now === 'stall') return
      const { method, params } = JSON.parse(body.toString()) as { method: string; params: unknown[] }
      const answer = await ask(url, req, body)
      const said = JSON.parse(answer.body.toString()) as { result?: unknown }
      if ('result' in said) said.result = now(method, params ?? [], said.result)
      res.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(said))
    }
    serve().catch(() => res.destroy())
  })

/** A hub in front of the one at URL. LIE changes what it gives for a path; 'stall' answers nothing. */
export const hubProxy = (url: string, lie: () => ((path: string, body: Buffer) => Buffer) | 'stall'): Promise<Proxy> =>
  listen((req, res) => {
    const serve = async () => {
      const now = lie()
      if (now === 'stall') return
      const answer = await ask(url, req, await bodyOf(req))
      const body = answer.status === 200 ? now(req.url ?? '', answer.body) : answer.body
      res.writeHead(answer.status, { 'content-length': body.length }).end(body)
    }
    serve().catch(() => res.destroy())
  })
