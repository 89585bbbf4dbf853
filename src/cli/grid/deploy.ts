import { reasonOf, ZosError } from '#codec'
import {
  type DeploymentStatus,
  type Key,
  parseSpec,
  placeOf,
  placeSlots,
  readConsent,
  readDeployment,
  rulesOf,
  type SlotSpec,
  type Spec,
  salted,
  sealSpecs,
  slotsOf,
  type Transition,
  type WantedSlot,
} from '#contract'
import { places } from '#wire'
import { openLibrary } from '#zosfs'
import { parseFlags } from '../flags.ts'
import { namedHub } from '../hub.ts'
import {
  type Context,
  groupOfDeployment,
  nodesOf,
  openContext,
  type PlacedNode,
  putSpec,
  signer,
  silenceOf,
} from './context.ts'
import { keptFor, neighboursOf, type Reader, reservedOf, stepOf } from './neighbours.ts'
import { giveAddresses } from './network.ts'
import { pin } from './pin.ts'
import { showPlan } from './plan.ts'
import { flistsOf, hubsFor } from './private.ts'
import { readText } from './read_text.ts'
import { openPlaced, readersOf } from './sealed.ts'
import { FLAGS, proposeStep } from './steps.ts'
import { uploadMissing } from './upload.ts'
import { refuseShrunk } from './volumes.ts'

/** What the parser takes has fewer characters; each may take up to 4 bytes. */
const SPEC_BYTES = 4 * 2 ** 20

function readSpec(file: string): Spec {
  let text: string
  try {
    text = readText(file, SPEC_BYTES)
  } catch (cause) {
    throw new ZosError(`Read spec "${file}": ${reasonOf(cause)}`, { code: 'no-spec', cause })
  }
  return parseSpec(text, file)
}

/** The specs that count now; none for a key that may not read them, or when one is nowhere to be had: LOST is told why. */
async function specsBefore(
  context: Context,
  key: Key,
  placed: Transition | null | undefined,
  lost: Set<string>,
): Promise<SlotSpec[]> {
  try {
    return placed ? (await openPlaced(context, key, placed)).map(({ spec }) => spec) : []
  } catch (error) {
    lost.add(reasonOf(error))
    return []
  }
}

/** The node for each of WANTED, which stays where it is if it can; says which of them give no sign of life. */
function choose(wanted: WantedSlot[], nodes: PlacedNode[], spec: Spec, now: DeploymentStatus): PlacedNode[] {
  // what a farmer took back is nowhere, and may be placed anywhere
  const held = now.slots.filter((s) => s.phase !== 'released')
  const current = new Map(held.map((s) => [s.index + (s.standby ? 128 : 0), s]))
  const placed = placeSlots(wanted, nodes, { current, rules: rulesOf(spec), now: Date.now() / 1000 })
  const chosen = placed.map(({ node }) => nodes.find((n) => n.id === node.id)!)
  for (const [n, node] of chosen.entries()) {
    const silence = silenceOf(node)
    if (silence) process.stderr.write(`zos: slot ${wanted[n]!.index} on "${node.name}": ${silence}\n`)
  }
  return chosen
}

/** WANTED with their addresses: those they have by EARLIER, or that others keep for them, else new ones. */
async function addressed(at: Reader, wanted: WantedSlot[], earlier: SlotSpec[]): Promise<WantedSlot[]> {
  const neighbours = await neighboursOf(at, wanted, earlier)
  const kept = await keptFor(at, wanted)
  return giveAddresses(wanted, {
    before: earlier,
    kept,
    neighbours,
    reserved: await reservedOf(neighbours, at.readers),
  })
}

/** `zos deploy FILE`: pins, places, seals, uploads, proposes; whatever can be refused is refused before anything is sent. */
export default async function deploy(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('deploy', args, {
    ...FLAGS,
    plan: { kind: 'switch', about: 'show placement and cost, change nothing' },
  })
  const [file, ...more] = rest
  if (!file || more.length > 0)
    throw new ZosError('zos deploy: write zos deploy FILE --group GROUP --as KEY [--plan]', { code: 'usage' })
  const written = readSpec(file)
  await using context = await openContext()
  const { name } = written
  const group = await groupOfDeployment(context, name, flags.group)
  await using library = openLibrary({ home: places().home, hub: namedHub() })
  const spec = await pin(written, library, flags)
  const wanted = slotsOf(spec)
  const [nodes, now, consent] = await Promise.all([
    nodesOf(context),
    readDeployment(context.grid, group.group, name),
    readConsent(context.grid, group.group, name),
  ])
  const chosen = choose(wanted, nodes, spec, now)
  if (flags.plan) {
    showPlan(wanted, chosen, flags.json)
    return 0
  }
  const key = await signer(flags.as, 'deploy')
  placeOf(consent.group, key.address) // refused here, before the hub gets anything
  const isUpdate = now.state === 'active'
  const readers = readersOf(consent.group.set)
  const reader = { context, key, group: group.group, readers }
  const lost = new Set<string>()
  const before = await specsBefore(context, key, consent.state.placed, lost)
  if (isUpdate)
    refuseShrunk(
      `update "${name}"`,
      before,
      wanted.map((w) => w.spec),
    )
  // what waits for approvals may be what others name already
  const earlier = isUpdate ? before : await specsBefore(context, key, await stepOf(reader, name), lost)
  const specs = (await addressed(reader, wanted, earlier)).map((w) => salted(w.spec))
  const { root, sealed } = await sealSpecs(specs, (n) => [chosen[n]!.seal, ...readers])
  const own = hubsFor(context, key, group, name)
  for (const [flist, isPrivate] of flistsOf(spec)) await uploadMissing(isPrivate ? own : context, library, flist)
  for (const { bytes } of sealed) await putSpec(context, bytes)
  // said only now: what was refused above changes no address
  for (const why of lost) process.stderr.write(`zos: the workloads get new addresses: ${why}\n`)
  const act = { context, key, group, name, consent, json: flags.json }
  return await proposeStep(act, isUpdate ? 'update' : 'deploy', {
    specRoot: root,
    slots: wanted.map((w, n) => ({
      index: w.index,
      node: chosen[n]!.id,
      mode: w.mode,
      blob: sealed[n]!.blob,
      resources: w.resources,
    })),
    rules: rulesOf(spec),
    names: spec.workloads.flatMap((w) => w.names),
    drain: spec.drain,
    expiry: spec.expires === undefined ? 0 : Math.floor(Date.now() / 1000) + spec.expires,
  })
}
