import { ZosError } from '#codec'
import type { ApprovalLog } from '../approval/log.ts'
import { encodeLog, verifyLog } from '../approval/log.ts'
import type { Evidence, GroupState } from '../approval/set.ts'
import { type ConsentState, noConsent } from '../approval/step.ts'
import { deploymentId } from '../typed/digest.ts'
import { freezeSchema, type Resources, signatureSchema, transitionSchema } from '../typed/schema.ts'
import { consentOf } from './consent.ts'
import { evidenceOfLog, withEvidence } from './evidence.ts'
import { type Grid, view } from './grid.ts'
import { canonical, readSets, setDigest } from './groups.ts'
import { events } from './logs.ts'
import { unpack } from './nodes.ts'
import { leftBy, type Reported, readReports } from './slots.ts'

type Hex = `0x${string}`

export type SlotStatus = {
  index: number
  standby: boolean
  node: number
  /** What its node last said of it; reserved before that, released when its operator took it back. */
  phase: 'reserved' | 'running' | 'failed' | 'stopped' | 'released'
  /** Its node's last word, also one on an earlier step; of one reading with `phase`. */
  said: Reported | undefined
  resources: Resources
  /** Unix seconds from when on its farmer may take it back; 0 where no notice was given. */
  notice: number
  /** The node a migration is leaving, until the new one runs. */
  leaving: { node: number; until: number } | undefined
}

/** What the contract holds of a deployment. */
export type DeploymentStatus = {
  id: Hex
  state: 'none' | 'active' | 'cancelled' | 'wiped' | 'expired'
  sequence: number
  version: number
  head: Hex
  specRoot: Hex
  expiry: number
  frozenUntil: number
  frozen: boolean
  slots: SlotStatus[]
}

type Row = readonly [number, number, number, number, number, bigint, Hex, Hex]

/** A deployment as the head has it, and what its nodes said of it up to the final block. */
export async function readDeployment(grid: Grid, group: Hex, name: string): Promise<DeploymentStatus> {
  const id = deploymentId(group, name)
  const read = ['deployments', 'placed'].map((name) => view(grid, name, [id]))
  const [row, placed] = (await Promise.all(read)) as [Row, bigint]
  const [sequence, version, expiry, frozenUntil, state, , head, specRoot] = row
  const keys = Array.from({ length: 256 }, (_, key) => key).filter((key) => (placed >> BigInt(key)) & 1n)
  const said = keys.length > 0 ? await readPhases(grid, group, name) : new Map<number, Said>()
  const slots = await Promise.all(keys.map((key) => readSlot(grid, id, key, said.get(key))))
  return {
    id,
    state: (['none', 'active', 'cancelled', 'wiped', 'expired'] as const)[state]!,
    sequence,
    version,
    head,
    specRoot,
    expiry: Number(expiry),
    frozenUntil: Number(frozenUntil),
    frozen: Number(frozenUntil) > Date.now() / 1000,
    slots,
  }
}

/** The last step the contract took of a deployment. */
export async function readStep(grid: Grid, group: Hex, name: string): Promise<{ sequence: number; head: Hex }> {
  const row = (await view(grid, 'deployments', [deploymentId(group, name)])) as Row
  return { sequence: row[0], head: row[6] }
}

type Said = { node: number; phase: SlotStatus['phase']; last: Reported | undefined }

/** By slot: the node it was last placed on, and what that said since. */
async function readPhases(grid: Grid, group: Hex, name: string): Promise<Map<number, Said>> {
  const { number } = await grid.engine.finalized()
  const to = BigInt(number)
  const [placed, reports] = await Promise.all([
    events(grid, ['Placed'], [deploymentId(group, name)], { to }),
    readReports(grid, group, name),
  ])
  const last = new Map(placed.map(({ args }) => [args.key as number, args as { node: number; sequence: number }]))
  return new Map(
    [...last].map(([key, { node, sequence }]) => {
      const last = reports.find((r) => r.slot === key && r.node === node)
      return [key, { node, phase: last && last.sequence >= sequence ? last.phase : 'reserved', last }]
    }),
  )
}

async function readSlot(grid: Grid, id: Hex, key: number, said: Said | undefined): Promise<SlotStatus> {
  type Booking = readonly [bigint, number, number]
  const rows = await Promise.all([key, leftBy(key)].map((k) => view(grid, 'bookings', [id, k])))
  const [[booked, node, notice], [, leavingNode, until]] = rows as [Booking, Booking]
  return {
    index: key % 128,
    standby: key >= 128,
    // placed and without a booking: taken back
    node: node || (said?.node ?? 0),
    phase: node === 0 ? 'released' : said?.node === node ? said.phase : 'reserved',
    said: node === 0 || said?.node === node ? said?.last : undefined,
    resources: unpack(booked),
    notice,
    leaving: leavingNode === 0 ? undefined : { node: leavingNode, until },
  }
}

/** The names of a group's deployments, in the order they were first approved. */
export async function listDeployments(grid: Grid, group: Hex): Promise<string[]> {
  const { number } = await grid.engine.finalized()
  const found = await events(grid, ['Approved'], [null, group], { to: BigInt(number) })
  return [...new Set(found.map((e) => (e.args.transition as { name: string }).name))]
}

/** `evidence`: what of the chain's proven state it took, for members that are contracts; undefined when signatures were enough. */
export type Consent = {
  group: GroupState
  state: ConsentState
  log: ApprovalLog | undefined
  evidence?: Evidence | undefined
}

/**
 * The approvals of one deployment, from its events, verified from the founding set on: what a group agreed to, whatever the chain
 * says. Only what members that are contracts said is taken from the chain's proven state. `log` is undefined before the first
 * approval.
 */
export async function readConsent(grid: Grid, group: Hex, name: string): Promise<Consent> {
  const id = deploymentId(group, name)
  const { number } = await grid.engine.finalized()
  const [{ entries: sets, state: current }, found] = await Promise.all([
    readSets(grid, group),
    events(grid, ['Approved', 'Frozen'], [id], { to: BigInt(number) }),
  ])
  const setOf = new Map(sets.map((e) => [setDigest(grid, e.set), e.set]))
  const approvals: ApprovalLog['approvals'] = []
  for (const e of found) {
    if (e.name === 'Approved') {
      const transition = transitionSchema.parse(e.args.transition)
      const set = setOf.get(transition.set)
      const signatures = consentOf(e.args).map((s) => canonical(grid, set, s))
      approvals.push({ transition, signatures, freezes: [] })
    } else {
      const { epoch, sequence, until, member, signature } = e.args
      const freeze = freezeSchema.parse({ group, epoch, name, sequence, until })
      const set = sets.find((s) => s.set.epoch === epoch)?.set
      const posted = signatureSchema.parse({ member, signature })
      approvals.at(-1)?.freezes.push({ freeze, signature: canonical(grid, set, posted) })
    }
  }
  if (approvals.length === 0) return { group: current, state: noConsent(name), log: undefined }
  const log: ApprovalLog = {
    format: 'zos-approval-log/1',
    chainId: grid.domain.chainId,
    contract: grid.contract,
    sets,
    approvals,
  }
  const text = encodeLog(log)
  const { result, evidence } = await withEvidence(
    (evidence) => verifyLog(text, evidence),
    () => evidenceOfLog(grid, group, log),
  )
  return { group: result.group, state: result.state, log, evidence }
}

/** The audit trail as the text of a file. */
export async function exportLog(grid: Grid, group: Hex, name: string): Promise<string> {
  const { log } = await readConsent(grid, group, name)
  if (!log) throw new ZosError(`Export log of "${name}": nothing was approved yet`, { code: 'no-approvals' })
  return encodeLog(log)
}
