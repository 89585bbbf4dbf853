// The provision plane of a node: pulls what groups agreed on from the chain, verifies it, drives compute toward it, reports.
// usage: node main.ts --home DIR --run DIR --rpc URL[,URL…]
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { reasonOf, ZosError } from '#codec'
import { connectRpc, type Grid, openGrid, openRelayer } from '#contract'
import { serveUnix, sleep } from '#sys'
import { planeLog } from '../supervisor/log.ts'
import { keyOfNode, readConfig } from './config.ts'
import { loadPinned, savePinned } from './pinned.ts'
import { pull } from './pull.ts'
import { reporter } from './report.ts'
import { computeAt, slotKeeper } from './slots.ts'
import { openSpecs } from './specs.ts'

/** Milliseconds between two looks at the chain; between two heartbeats; between two looks at everything. */
const LOOK = 500
const BEAT = 300_000
const WHOLE = 60_000

const log = planeLog('provision')
const { values } = parseArgs({
  options: { home: { type: 'string' }, run: { type: 'string' }, rpc: { type: 'string' } },
})
const { home, run, rpc } = values
if (!home || !run || !rpc) {
  log('usage: main.ts --home DIR --run DIR --rpc URL[,URL…]')
  process.exit(2)
}

const config = readConfig(home)
const key = keyOfNode(config)
const dir = join(home, 'provision')
mkdirSync(dir, { recursive: true, mode: 0o700 })
const state = join(dir, 'pinned.json')
const pinned = loadPinned(state)
const specs = openSpecs(join(dir, 'specs'), join(run, 'network.sock'))
const keep = slotKeeper({
  me: config.node,
  sealSecret: key.sealSecret,
  compute: computeAt(join(run, 'compute.sock')),
  specs,
  log,
})

let chain: { grid: Grid; report: ReturnType<typeof reporter> } | undefined
let away = ''

/** The chain this node was registered on, or an error. */
async function reach() {
  if (chain) return chain
  const engine = await connectRpc(rpc!.split(','))
  if (engine.chainId !== config.chainId || engine.genesis !== config.genesis)
    throw new ZosError(`Reach the chain: ${engine.chainId} with genesis ${engine.genesis} is not the one pinned`, {
      code: 'wrong-chain',
    })
  const grid = openGrid(engine, config.contract, { since: BigInt(config.since) })
  // whoever relays has no say, and the embedded chain is free: a throw-away key carries the node's signed words
  chain = { grid, report: reporter({ grid, relayer: openRelayer(), key, node: config.node, log }) }
  return chain
}

const path = join(run, 'provision.sock')
await serveUnix(path, {
  calls: {
    'GET /status': () => ({
      pid: process.pid,
      node: config.node,
      away,
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

let beaten = 0
let looked = Date.now()
while (!stop.signal.aborted) {
  const begun = Date.now()
  let save = false
  if (begun - looked > WHOLE) {
    looked = begun
    for (const d of Object.values(pinned.deployments)) d.dirty = true
  }
  try {
    const { grid } = await reach()
    save = await pull(grid, pinned, config.node, log)
    if (away !== '') log('the chain answers')
    away = ''
  } catch (error) {
    // everything runs on: what was agreed on before is still agreed on
    if (away !== reasonOf(error)) log(reasonOf(error))
    away = reasonOf(error)
  }
  // what was verified is remembered before it is acted on
  if (save) await savePinned(state, pinned)
  try {
    const now = await keep(pinned.deployments)
    if (chain && away === '' && (await chain.report.slots(pinned, now))) await savePinned(state, pinned)
    if (chain && away === '' && begun - beaten > BEAT) {
      beaten = begun
      await chain.report.beat()
    }
  } catch (error) {
    log(`pass: ${reasonOf(error)}`)
  }
  await sleep(Math.max(50, LOOK - (Date.now() - begun)), stop.signal).catch(() => {})
}
rmSync(path, { force: true })
process.exit(0)
