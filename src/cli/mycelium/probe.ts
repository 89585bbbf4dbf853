import { ZosError } from '#codec'
import {
  formatAddress,
  formatSubnet,
  type ProbeResult,
  parseOverlayAddress,
  type RouteStatus,
  subnetOf,
} from '#mycelium'
import { sleep } from '#sys'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { ask } from './api-path.ts'

const TIMEOUT = 2_000
const MAX_HOPS = 32

/** RFC 4443, in words that say what to do. */
function errorText({ type, code }: { type: number; code: number }): string {
  if (type === 3) return 'hop limit exceeded on the way'
  if (type === 2) return 'packet too big for the path'
  if (code === 0) return 'no route: no peer knows this address; is its node up and connected to anybody?'
  if (code === 3)
    return 'not reached: no address of that node, or it answers no handshake; look at "zos mycelium routes"'
  return `unreachable (type ${type}, code ${code})`
}

function oneAddress(command: string, rest: string[]): string {
  if (rest.length !== 1)
    throw new ZosError(`zos mycelium ${command}: give one address, not ${rest.length}`, { code: 'usage' })
  return formatAddress(parseOverlayAddress(rest[0]!))
}

const probe = (address: string, hopLimit: number): Promise<ProbeResult> =>
  ask('POST', '/probe', { address, hopLimit, timeout: TIMEOUT })

/** Why no answer came though nothing is known to have failed, and what to do. */
async function whySilent(address: string): Promise<string> {
  const subnet = formatSubnet(subnetOf(parseOverlayAddress(address)))
  const { searching } = await ask<{ searching: string[] }>('GET', '/status')
  const route = (await ask<RouteStatus[]>('GET', '/routes')).find((r) => r.subnet === subnet && r.selected)
  if (route) return `a route leads there by ${route.via}: its node may have just ended, or answers not everybody`
  if (!searching.includes(subnet)) return 'nothing is known of it; ping it again'
  return 'no route yet, it is still asked for: is its node up and connected to anybody?'
}

/** Exit code 0 when at least one answer came. */
export async function ping(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('mycelium ping', args, {
    count: { kind: 'value', short: 'c', about: 'how many to send' },
    json: JSON_FLAG,
  })
  const address = oneAddress('ping', rest)
  const count = Number(flags.count ?? 4)
  if (!Number.isInteger(count) || count < 1 || count > 10_000)
    throw new ZosError(`zos mycelium ping: count "${flags.count}" is not a number from 1 to 10000`, { code: 'usage' })
  let answers = 0
  let silent: Extract<ProbeResult, { outcome: 'timeout' }> | undefined
  for (let i = 1; i <= count; i++) {
    if (i > 1) await sleep(1_000)
    const result = await probe(address, 64)
    if (result.outcome === 'reply') answers++
    silent = result.outcome === 'timeout' ? result : undefined
    if (flags.json) process.stdout.write(`${JSON.stringify(result)}\n`)
    else if (result.outcome === 'reply')
      process.stdout.write(`reply from ${result.from}: ${result.ms.toFixed(2)} ms, hop limit ${result.hopLimit}\n`)
    else if (result.outcome === 'error') process.stdout.write(`${result.from}: ${errorText(result)}\n`)
    else process.stdout.write(`no answer within ${TIMEOUT / 1000} s\n`)
  }
  const why = answers === 0 && silent && !flags.json ? `: ${silent.lastError ?? (await whySilent(address))}` : ''
  if (!flags.json) process.stdout.write(`${answers} of ${count} answered${why}\n`)
  return answers > 0 ? 0 : 1
}

/** Exit code 0 when the address itself answered. */
export async function trace(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('mycelium trace', args, { json: JSON_FLAG })
  const address = oneAddress('trace', rest)
  // our own node takes the first hop
  for (let hop = 1; hop <= MAX_HOPS; hop++) {
    const result = await probe(address, hop + 1)
    if (flags.json) process.stdout.write(`${JSON.stringify({ hop, ...result })}\n`)
    else if (result.outcome === 'timeout') process.stdout.write(`${String(hop).padStart(2)}  no answer\n`)
    else {
      const why = result.outcome === 'error' && result.type !== 3 ? `  ${errorText(result)}` : ''
      process.stdout.write(`${String(hop).padStart(2)}  ${result.from}  ${result.ms.toFixed(2)} ms${why}\n`)
    }
    // a node takes one off what arrives, too: it may say itself that this was the last
    if (result.outcome === 'reply' || (result.outcome === 'error' && result.from === address)) return 0
    if (result.outcome === 'error' && result.type !== 3) return 1
  }
  return 1
}
