import { readFileSync } from 'node:fs'
import { reasonOf, ZosError } from '#codec'
import {
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
import { checkSignature, openLibrary, resolveTag } from '#zosfs'
import { parseFlags } from '../flags.ts'
import { namedHub } from '../hub.ts'
import { table } from '../terminal.ts'
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
import type { Member } from './fetch.ts'
import { keptFor, neighboursOf, reservedOf, stepOf } from './neighbours.ts'
import { giveAddresses } from './network.ts'
import { flistsOf, hubsFor } from './private.ts'
import { openPlaced, readersOf } from './sealed.ts'
import { FLAGS, proposeStep } from './steps.ts'
import { uploadMissing } from './upload.ts'
import { refuseShrunk } from './volumes.ts'

function readSpec(file: string): Spec {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ZosError(`Read spec "${file}": ${reasonOf(cause)}`, { code: 'no-spec', cause })
  }
  return parseSpec(text, file)
}

type Library = ReturnType<typeof openLibrary>

/** What IMAGE means now; as with `zos run` one that nobody published yet is published first, but not for a plan. */
async function tagOf(library: Library, image: string, { plan, ...member }: Member & { plan: boolean }) {
  const known = await resolveTag(library, image)
  if (known) return known
  if (plan) throw new Error('it is not published, and --plan changes nothing: "zos publish" it first')
  const { publishUnknown } = await import('../publish.ts')
  await publishUnknown(image, member)
  const made = await resolveTag(library, image)
  if (!made) throw new Error('its name is not there after it was published')
  return made
}

/** Each image's name becomes the digest it means now, checked against its publisher's signature. */
async function pin(spec: Spec, library: Library, who: Member & { plan: boolean }): Promise<Spec> {
  const workloads = []
  for (const w of spec.workloads) {
    if (w.flist) {
      workloads.push(w)
      continue
    }
    const tag = await tagOf(library, w.image, who).catch((cause: unknown) => {
      throw new ZosError(`Deploy "${spec.name}": image "${w.image}" of workload "${w.name}": ${reasonOf(cause)}`, {
        code: 'unknown-image',
        cause,
      })
    })
    await checkSignature(library, tag.digest, tag.key)
    workloads.push({ ...w, flist: tag.digest })
  }
  return { ...spec, workloads }
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

function showPlan(wanted: WantedSlot[], nodes: PlacedNode[], json: boolean): void {
  const rows = wanted.map((w, n) => {
    const { cpu, ram, ssd } = w.resources
    const node = nodes[n]!
    const price = typeof node.attributes.price === 'number' ? node.attributes.price : 0
    return {
      slot: w.index,
      standby: w.mode === 2,
      node: node.name,
      farm: node.farmName,
      country: node.country,
      cpu,
      ram,
      ssd,
      price,
    }
  })
  if (json) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else
    process.stdout.write(
      table(
        ['SLOT', 'NODE', 'FARM', 'COUNTRY', 'CPUS', 'MEMORY', 'DISK', 'PRICE'],
        rows.map((r) => [
          `${r.slot}${r.standby ? ' (standby)' : ''}`,
          r.node,
          r.farm,
          r.country,
          String(r.cpu / 1000),
          `${r.ram} MiB`,
          `${r.ssd} MiB`,
          r.price === 0 ? 'free' : String(r.price),
        ]),
      ),
    )
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
  // what a farmer took back is nowhere, and may be placed anywhere
  const held = now.slots.filter((s) => s.phase !== 'released')
  const current = new Map(held.map((s) => [s.index + (s.standby ? 128 : 0), s]))
  const chosen = placeSlots(wanted, nodes, { current, rules: rulesOf(spec), now: Date.now() / 1000 }).map(
    ({ node }) => nodes.find((n) => n.id === node.id)!,
  )
  for (const [n, node] of chosen.entries()) {
    const silence = silenceOf(node)
    if (silence) process.stderr.write(`zos: slot ${wanted[n]!.index} on "${node.name}": ${silence}\n`)
  }
  if (flags.plan) {
    showPlan(wanted, chosen, flags.json)
    return 0
  }
  const key = await signer(flags.as, 'deploy')
  placeOf(consent.group, key.address) // refused here, before the hub gets anything
  const readers = readersOf(consent.group.set)
  const reader = { context, key, group: group.group, readers }
  const lost = new Set<string>()
  const before = await specsBefore(context, key, consent.state.placed, lost)
  if (now.state === 'active')
    refuseShrunk(
      `update "${name}"`,
      before,
      wanted.map((w) => w.spec),
    )
  // what waits for approvals may be what others name already
  const earlier = now.state === 'active' ? before : await specsBefore(context, key, await stepOf(reader, name), lost)
  const neighbours = await neighboursOf(reader, wanted, earlier)
  const addressed = giveAddresses(wanted, {
    before: earlier,
    kept: await keptFor(reader, wanted),
    neighbours,
    reserved: await reservedOf(neighbours, readers),
  })
  const { root, sealed } = await sealSpecs(
    addressed.map((w) => salted(w.spec)),
    (n) => [chosen[n]!.seal, ...readers],
  )
  const own = hubsFor(context, key, group, name)
  for (const [flist, isPrivate] of flistsOf(spec)) await uploadMissing(isPrivate ? own : context, library, flist)
  for (const { bytes } of sealed) await putSpec(context, bytes)
  // said only now: what was refused above changes no address
  for (const why of lost) process.stderr.write(`zos: the workloads get new addresses: ${why}\n`)
  const act = { context, key, group, name, consent, json: flags.json }
  return await proposeStep(act, now.state === 'active' ? 'update' : 'deploy', {
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
