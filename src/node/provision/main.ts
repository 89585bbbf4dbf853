// The provision plane of a node: pulls what groups agreed on from the chain, verifies it, drives compute toward it, reports.
// usage: node main.ts --home DIR --run DIR --rpc URL[,URL…] [--relayer ADDRESS]
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { codeOf, reasonOf, ZosError } from '#codec'
import { connectRpc, openGrid, openRelayer } from '#contract'
import { serveUnix } from '#sys'
import { planeLog } from '../supervisor/log.ts'
import { cardKeeper } from './cards.ts'
import { keyOfNode, readConfig } from './config.ts'
import { doubt } from './doubt.ts'
import { type Leases, leaseHolder, RENEW } from './leases.ts'
import { otherNodes } from './nodes.ts'
import { pace } from './pace.ts'
import { loadPinned, savePinned } from './pinned.ts'
import { poster } from './post.ts'
import { pull } from './pull.ts'
import { carryBy } from './relayer.ts'
import { reporter } from './report.ts'
import { computeAt, slotKeeper, type Words } from './slots.ts'
import { openSpecs } from './specs.ts'

/**
 * Milliseconds between two looks at the chain, after it had no news for a while, and while it is away or lies; between two
 * passes over the slots; between two heartbeats, and after one that did not come through; between two looks at everything.
 */
const LOOK = 250
const LOOK_QUIET = 1000
const QUIET_AFTER = 30_000
const AWAY = 2000
const PASS = 500
const BEAT = 300_000
const BEAT_AGAIN = 30_000
const WHOLE = 60_000

const log = planeLog('provision')
const text = { type: 'string' } as const
const { values } = parseArgs({
  options: { home: text, run: text, rpc: text, relayer: text },
})
const { home, run, rpc } = values
if (!home || !run || !rpc) {
  log('usage: main.ts --home DIR --run DIR --rpc URL[,URL…] [--relayer ADDRESS]')
  process.exit(2)
}

const config = readConfig(home)
const key = keyOfNode(config)
const dir = join(home, 'provision')
mkdirSync(dir, { recursive: true, mode: 0o700 })
const state = join(dir, 'pinned.json')
/** As saved: what was verified is remembered before it is acted on. */
let pinned = loadPinned(state)
/** What the slots here are, to be reported. */
let words: Words = new Map()
let away = ''
/** Whether the chain's word was taken since this plane started. */
let reached = false
let leases: Leases | undefined

const cards = cardKeeper(
  run,
  { key, domain: { chainId: config.chainId, contract: config.contract } },
  () => pinned.groups,
  log,
)
const keep = slotKeeper({
  me: config.node,
  sealSecret: key.sealSecret,
  compute: computeAt(join(run, 'compute.sock')),
  specs: openSpecs(join(dir, 'specs'), join(run, 'network.sock')),
  leaseOf: (id, index) => leases?.of(id, index) ?? { held: false, why: 'has no lease: the chain was not reached yet' },
  cards,
  capacity: config.capacity,
  place: config,
  log,
})

/** By the relayer that is named, else by ourselves. */
const post = poster(values.relayer ? carryBy(join(run, 'mycelium.sock'), values.relayer) : undefined, log)

/** The chain this node was registered on, or an error. */
async function reach() {
  const engine = await connectRpc(rpc!.split(','))
  if (engine.chainId !== config.chainId || engine.genesis !== config.genesis)
    throw new ZosError(`Reach the chain: ${engine.chainId} with genesis ${engine.genesis} is not the one pinned`, {
      code: 'wrong-chain',
    })
  const grid = openGrid(engine, config.contract, { since: BigInt(config.since) })
  // whoever posts has no say: without a relayer a throw-away key does where the chain is free
  return { grid, report: reporter({ grid, post, account: openRelayer(), key, node: config.node, log }) }
}

let saving: Promise<void> = Promise.resolve()
const save = (what: typeof pinned): Promise<void> => {
  saving = saving.catch(() => {}).then(() => savePinned(state, what))
  return saving
}

const path = join(run, 'provision.sock')
await serveUnix(path, {
  calls: {
    'GET /status': () => ({
      pid: process.pid,
      node: config.node,
      away,
      reached,
      cursor: pinned.cursor,
      deployments: Object.entries(pinned.deployments).map(([id, d]) => ({
        id,
        name: d.name,
        sequence: d.consent.sequence,
        version: d.consent.version,
        status: d.consent.status,
        held: d.held,
        said: d.said,
      })),
    }),
  },
})
log(`up: pid ${process.pid}, node ${config.node}`)

const stop = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort())

// Loops of their own, for a chain that answers slowly must not keep the slots waiting, nor a start the next freeze, nor
// either of them a lease.
const chainPace = pace()
const reportPace = pace()
const leasePace = pace()
const slotsPace = pace()

async function followChain(): Promise<void> {
  let chain: Awaited<ReturnType<typeof reach>> | undefined
  let looked = 0
  let saved = ''
  const standing = doubt()
  let news = Date.now()
  while (!stop.signal.aborted) {
    const begun = Date.now()
    const whole = begun - looked > WHOLE
    try {
      chain ??= await reach()
      // on a copy: a look that fails half-way has taught nothing
      const next = structuredClone(pinned)
      const learnt = await pull(chain.grid, next, { ...config, id: config.node }, { whole, log })
      if (whole) looked = begun
      // what is reported meanwhile is noted in both
      for (const [id, d] of Object.entries(next.deployments)) {
        const now = pinned.deployments[id as `0x${string}`]
        if (now) d.said = now.said
      }
      // blocks without news need not be remembered one by one
      if (learnt || (whole && next.cursor?.hash !== saved)) {
        await save(next)
        saved = next.cursor?.hash ?? ''
      }
      pinned = next
      standing.trust()
      if (learnt) {
        news = begun
        slotsPace.hurry()
        leasePace.hurry()
      }
      if (whole) cards.nodes(await otherNodes(chain.grid, config.node))
      if (away !== '') log('the chain answers')
      away = ''
      reached = true
    } catch (error) {
      // everything runs on: what was agreed on before is still agreed on
      if (away !== reasonOf(error)) log(reasonOf(error))
      away = reasonOf(error)
      // events are hints, and consent never goes back: from the start, then
      if (standing.isDue(codeOf(error), begun)) {
        pinned = { ...pinned, cursor: null }
        looked = 0
      }
    }
    const rest = Date.now() - news > QUIET_AFTER ? LOOK_QUIET : LOOK
    await chainPace.wait(away === '' ? rest : AWAY, stop.signal)
  }
}

async function keepSlots(): Promise<void> {
  let said = ''
  while (!stop.signal.aborted) {
    try {
      words = await keep(pinned.deployments)
      // what they are now is reported at once
      const now = JSON.stringify([...words].map(([id, slots]) => [id, ...slots]))
      if (now !== said) reportPace.hurry()
      said = now
    } catch (error) {
      log(`pass: ${reasonOf(error)}`)
    }
    await slotsPace.wait(PASS, stop.signal)
  }
}

/** A word may wait for its block as long as the chain lets it: a freeze is noticed meanwhile. */
async function reportSlots(): Promise<void> {
  let report: ReturnType<typeof reporter> | undefined
  let failed = ''
  let due = 0
  while (!stop.signal.aborted) {
    try {
      report ??= (await reach()).report
      if (await report.slots(pinned, words)) await save(pinned)
      if (Date.now() > due) due = Date.now() + ((await report.beat()) ? BEAT : BEAT_AGAIN)
      failed = ''
    } catch (error) {
      // of a chain that is away followChain speaks
      if (failed !== reasonOf(error) && away === '') log(`report: ${reasonOf(error)}`)
      failed = reasonOf(error)
    }
    await reportPace.wait(failed === '' ? PASS : AWAY, stop.signal)
  }
}

async function holdLeases(): Promise<void> {
  let failed = ''
  while (!stop.signal.aborted) {
    try {
      leases ??= leaseHolder({ grid: (await reach()).grid, post, key, me: config.node, log })
      await leases.turn(pinned.deployments)
      slotsPace.hurry()
      failed = ''
    } catch (error) {
      if (failed !== reasonOf(error)) log(`lease: ${reasonOf(error)}`)
      failed = reasonOf(error)
    }
    await leasePace.wait(RENEW, stop.signal)
  }
}

await Promise.all([followChain(), reportSlots(), keepSlots(), holdLeases()])
rmSync(path, { force: true })
process.exit(0)
