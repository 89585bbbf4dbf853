import type { PeerStatus, prometheus, RouteStatus, UnreachedStatus } from '#mycelium'
import { JSON_FLAG, onlyFlags } from '../flags.ts'
import { bytesText, table } from '../terminal.ts'
import { ask } from './api-path.ts'

const jsonFlag = (command: string, args: string[]): boolean =>
  onlyFlags(`mycelium ${command}`, args, { json: JSON_FLAG }).json

type NotReached = { unreached: UnreachedStatus[]; unreachedMore: number }

const print = (json: boolean, value: unknown, text: () => string): number => {
  process.stdout.write(json ? `${JSON.stringify(value)}\n` : text())
  return 0
}

export async function status(args: string[]): Promise<number> {
  const json = jsonFlag('status', args)
  const now = await ask<Record<string, unknown>>('GET', '/status')
  const rows = Object.entries(now).map(([name, value]) => {
    const text = typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? 'none')
    return `${name.padEnd(14)}${text}\n`
  })
  return print(json, now, () => rows.join(''))
}

export async function peers(args: string[]): Promise<number> {
  const json = jsonFlag('peers', args)
  const all = await ask<PeerStatus[]>('GET', '/peers')
  const rows = all.map((p) => [
    p.endpoint,
    p.discovered ? 'found' : p.direction,
    p.state,
    p.rtt === null ? '-' : `${p.rtt.toFixed(1)} ms`,
    p.since,
    bytesText(p.bytesIn),
    bytesText(p.bytesOut),
    p.lastError ?? '',
  ])
  const header = ['PEER', 'DIR', 'STATE', 'RTT', 'SINCE', 'IN', 'OUT', 'LAST ERROR']
  return print(json, all, () => table(header, rows))
}

export async function routes(args: string[]): Promise<number> {
  const json = jsonFlag('routes', args)
  const all = await ask<RouteStatus[]>('GET', '/routes')
  const rows = all.map((r) => [
    r.subnet,
    r.via,
    r.metric === 0xffff ? 'unreachable' : String(r.metric),
    String(r.seqno),
    r.selected ? 'in use' : '',
    r.sealing,
    r.age === null ? '' : `${r.age} s`,
    `${r.expiresIn} s`,
    r.lastError === null ? '' : `${r.lastErrorAge} s ago: ${r.lastError}`,
  ])
  if (json) return print(json, all, () => '')
  // what has no route is no row of the JSON
  const { unreached, unreachedMore } = await ask<NotReached>('GET', '/status')
  const none = unreached.map(({ subnet, error, age }) => [
    subnet,
    'none',
    '',
    '',
    '',
    '',
    '',
    '',
    `${age} s ago: ${error}`,
  ])
  const header = ['SUBNET', 'VIA', 'METRIC', 'SEQNO', '', 'SEALING', 'AGE', 'EXPIRES', 'LAST ERROR']
  const more = unreachedMore > 0 ? `and ${unreachedMore} more were not reached, before these\n` : ''
  return print(json, all, () => table(header, [...rows, ...none]) + more)
}

export async function metrics(args: string[]): Promise<number> {
  onlyFlags('mycelium metrics', args, {})
  // the other commands here do without the daemon's code
  const { prometheus: text } = await import('#mycelium')
  const now = await ask<Parameters<typeof prometheus>[0]>('GET', '/status')
  process.stdout.write(text(now, await ask<PeerStatus[]>('GET', '/peers')))
  return 0
}
