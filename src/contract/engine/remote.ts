import { reasonOf, ZosError } from '#codec'
import type { Engine, Head, Hex } from './types.ts'

/** An answer later than this is none; the next URL is asked. */
const DEADLINE = 15_000
/** Bytes of an answer: what a chain may make us hold. */
const ANSWER_LIMIT = 64 << 20

type Answer = { result?: unknown; error?: { code: number; message: string; data?: unknown } }

const away = (urls: readonly string[], reason: string, cause?: unknown) =>
  new ZosError(`Ask the chain at "${urls.join(', ')}": ${reason}`, { code: 'chain-away', kind: 'node', cause })

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > ANSWER_LIMIT) throw new Error(`it answered more than ${ANSWER_LIMIT} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/**
 * An EVM network by JSON-RPC over HTTP. The URL that answered last is asked first, the others when it does not: they are
 * alternatives, not witnesses. What they say is a hint in any case: consent is verified from signatures.
 */
export async function openRemote(urls: readonly string[], options: { timeout?: number } = {}): Promise<Engine> {
  const timeout = options.timeout ?? DEADLINE
  let first = 0
  const ask = async (url: string, body: string): Promise<Answer> => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      signal: AbortSignal.timeout(timeout),
    })
    const answer = JSON.parse(await readBounded(response)) as Answer | null
    if (typeof answer !== 'object' || answer === null || !('result' in answer || 'error' in answer))
      throw new Error(`status ${response.status} is no JSON-RPC answer`)
    return answer
  }
  const request = async ({ method, params }: { method: string; params?: unknown }): Promise<unknown> => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: params ?? [] })
    let why: unknown
    for (let n = 0; n < urls.length; n++) {
      const at = (first + n) % urls.length
      let answer: Answer
      try {
        answer = await ask(urls[at]!, body)
      } catch (error) {
        why = (error as { cause?: unknown }).cause ?? error
        continue
      }
      first = at
      // the shape viem reads: code and data on the error itself
      if (answer.error) throw Object.assign(new Error(answer.error.message), answer.error)
      return answer.result ?? null
    }
    throw away(urls, reasonOf(why), why)
  }
  const block = async (tag: string): Promise<Head> => {
    const found = (await request({ method: 'eth_getBlockByNumber', params: [tag, false] })) as Record<
      string,
      Hex
    > | null
    if (!found?.number || !found.hash || !found.timestamp) throw away(urls, `it has no block "${tag}"`)
    return { number: Number(found.number), hash: found.hash, timestamp: Number(found.timestamp) }
  }
  const chainId = Number(await request({ method: 'eth_chainId' }))
  const genesis = (await block('0x0')).hash
  return {
    chainId,
    genesis,
    request,
    // the embedded chain calls its fsynced head final
    finalized: () => block('finalized'),
    async [Symbol.asyncDispose]() {},
  }
}
