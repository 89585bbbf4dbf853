import { stringToHex } from '#npm'
import type { Key } from '../keys/keys.ts'
import { deploymentId, digestOf } from '../typed/digest.ts'
import { type Ack, PHASE } from '../typed/schema.ts'
import type { Receipt } from './deliver.ts'
import type { Grid } from './grid.ts'
import { events } from './logs.ts'
import { type Relayer, write } from './relayer.ts'

type Hex = `0x${string}`

export type Report = {
  group: Hex
  name: string
  /** The slot's index; plus 128 for its standby. */
  slot: number
  node: number
  sequence: number
  phase: 'running' | 'failed' | 'stopped'
  /** Why, in words; cut to 256 bytes. */
  reason?: string
}

export type SignedReport = { ack: Ack; signature: Hex }

/** A node's word on a slot, signed offline: the node needs no funds, whoever relays it does. */
export function signReport(grid: Grid, key: Key, r: Report): SignedReport {
  const reason = Buffer.from(r.reason ?? '').subarray(0, 256)
  const ack: Ack = {
    deployment: deploymentId(r.group, r.name),
    slot: r.slot,
    node: r.node,
    sequence: r.sequence,
    phase: PHASE[r.phase],
    time: Math.floor(Date.now() / 1000),
    report: stringToHex(new TextDecoder().decode(reason).replace(/\uFFFD+$/, '')),
  }
  return { ack, signature: key.sign(digestOf(grid.domain, 'Ack', ack)) }
}

/** Posts a node's report. */
export function sendReport(grid: Grid, relayer: Relayer, r: SignedReport): Promise<Receipt> {
  return write(grid, relayer, 'ack', [r.ack, r.signature])
}

/** Ends a deployment that outlived its expiry; anyone may. */
export function expire(grid: Grid, relayer: Relayer, group: Hex, name: string): Promise<Receipt> {
  return write(grid, relayer, 'expire', [deploymentId(group, name)])
}

/** What a migration of the slot KEY left behind is under this in the contract. */
export const leftBy = (key: number): number => key + 256
/** Either's slot: its index, plus 128 for its standby. */
export const slotKeyOf = (key: number): number => key % 256

/** Frees what a migration left behind once its time is over; anyone may. */
export function drained(grid: Grid, relayer: Relayer, group: Hex, name: string, slot: number): Promise<Receipt> {
  return write(grid, relayer, 'reclaim', [deploymentId(group, name), leftBy(slot)])
}

export type Reported = {
  slot: number
  node: number
  sequence: number
  phase: Report['phase']
  time: number
  reason: string
}

/** In the chain's order. Reports are public and anyone can post one again: each counts when it was first taken. */
async function saidOf(grid: Grid, group: Hex, name: string): Promise<Ack[]> {
  const { number } = await grid.engine.finalized()
  const found = await events(grid, ['Acked'], [deploymentId(group, name)], { to: BigInt(number) })
  return [...new Map(found.map(({ args: { ack } }) => [JSON.stringify(ack), ack as Ack])).values()]
}

/** The last report of each slot's each node, by the time the node gave: why it is as it is, and since when. */
export async function readReports(grid: Grid, group: Hex, name: string): Promise<Reported[]> {
  const last = new Map<string, Reported>()
  for (const { slot, node, sequence, time, ...ack } of await saidOf(grid, group, name)) {
    const phase = (['running', 'failed', 'stopped'] as const)[ack.phase - PHASE.running]
    const known = last.get(`${slot} ${node}`)
    if (!phase || (known && (known.sequence > sequence || (known.sequence === sequence && known.time > time)))) continue
    const reason = Buffer.from(ack.report.slice(2), 'hex').toString()
    last.set(`${slot} ${node}`, { slot, node, sequence, phase, time, reason })
  }
  return [...last.values()]
}

export type Word = { slot: number; node: number; sequence: number; phase: number }

/** Every report of a deployment's slots that the chain took, in the chain's order: who spoke last. */
export async function readWords(grid: Grid, group: Hex, name: string): Promise<Word[]> {
  const said = await saidOf(grid, group, name)
  return said.map(({ slot, node, sequence, phase }) => ({ slot, node, sequence, phase }))
}

/** The deployments that ever had a slot on NODE, besides those KNOWN. */
export async function placedOn(
  grid: Grid,
  node: number,
  known: ReadonlySet<Hex>,
): Promise<{ id: Hex; group: Hex; name: string }[]> {
  const { number } = await grid.engine.finalized()
  const to = BigInt(number)
  const placed = await events(grid, ['Placed'], [null, `0x${node.toString(16).padStart(64, '0')}`], { to })
  const ids = new Set(placed.map((e) => e.args.id as Hex).filter((id) => !known.has(id)))
  const found: { id: Hex; group: Hex; name: string }[] = []
  for (const id of ids) {
    const [approved] = await events(grid, ['Approved'], [id], { to })
    if (!approved) continue
    // as the chain has it: what else stands in it is for whoever takes it up to judge
    const { group, name } = approved.args.transition as { group: Hex; name: string }
    found.push({ id, group, name })
  }
  return found
}
