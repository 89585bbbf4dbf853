import { ZosError } from '#codec'
import { type Geo, isForbidden, MODE, migrationOf, readConsent, sealSpecs } from '#contract'
import { parseFlags } from '../flags.ts'
import { groupOfDeployment, nodesOf, openContext, putSpec, signer } from './context.ts'
import { openPlaced, readersOf } from './sealed.ts'
import { FLAGS, proposeStep } from './steps.ts'

/** How long the old place stays booked at most while the new one comes up, where the spec did not say. Seconds. */
const DRAIN = 600

/** `zos migrate D/N --to NODE`: the same spec, sealed to another node; the old one goes on until the new one runs. */
export default async function migrate(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('migrate', args, {
    ...FLAGS,
    to: { kind: 'value', about: 'the node that takes the slot' },
  })
  const [, name, slotText] = /^([a-z0-9-]+)\/(\d{1,3})$/.exec(rest[0] ?? '') ?? []
  if (!name || !flags.to || rest.length !== 1)
    throw new ZosError('zos migrate: write zos migrate DEPLOYMENT/SLOT --to NODE --group GROUP --as KEY', {
      code: 'usage',
    })
  await using context = await openContext()
  const group = await groupOfDeployment(context, name, flags.group)
  const key = await signer(flags.as, 'migrate')
  const consent = await readConsent(context.grid, group.group, name)
  const { placed } = consent.state
  const place = placed?.slots.findIndex((s) => s.index === Number(slotText) && s.mode !== 2) ?? -1
  if (!placed || place < 0) throw new ZosError(`Migrate "${rest[0]}": there is no such slot`, { code: 'no-slot' })
  const nodes = await nodesOf(context)
  const target = nodes.find((n) => n.name === flags.to || String(n.id) === flags.to)
  if (!target)
    throw new ZosError(`Migrate "${rest[0]}": there is no node "${flags.to}"; "zos node ls" lists them`, {
      code: 'no-node',
    })
  const specs = await openPlaced(context, key, placed)
  // its node would refuse it only after all have signed, and the old one lets go of it all the same
  if (isForbidden(target, placed.rules, specs[place]!.spec.workload.geo as Geo | undefined))
    throw new ZosError(`Migrate "${rest[0]}": the geo rules forbid it in ${target.region || target.country}`, {
      code: 'forbidden-there',
    })
  if (placed.slots.some((s) => s.index === Number(slotText) && s.mode === MODE.standby && s.node === target.id))
    throw new ZosError(`Migrate "${rest[0]}": its standby is there, and one node would have both`, {
      code: 'standby-there',
    })
  const { sealed } = await sealSpecs(specs, () => [target.seal, ...readersOf(consent.group.set)])
  const draft = migrationOf(consent.state, Number(slotText), { node: target.id, blob: sealed[place]!.blob })
  await putSpec(context, sealed[place]!.bytes)
  return await proposeStep({ context, key, group, name, consent, json: flags.json }, 'migrate', {
    ...draft,
    drain: draft.drain || DRAIN,
  })
}
