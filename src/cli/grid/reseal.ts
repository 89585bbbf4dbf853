import { ZosError } from '#codec'
import { resealOf, sealSpecs } from '#contract'
import { nodesOf, putSpec } from './context.ts'
import { openPlaced, readersOf } from './sealed.ts'
import { openAct, proposeStep } from './steps.ts'

/** `zos reseal D`: the same specs where they are, sealed to the nodes and to those who may read them now; nothing restarts. */
export default async function reseal(args: string[]): Promise<number> {
  await using act = await openAct('reseal', args)
  const { context, key, consent, name } = act
  const { placed } = consent.state
  if (!placed) throw new ZosError(`Reseal "${name}": the group has no such deployment`, { code: 'no-deployment' })
  const [specs, nodes] = await Promise.all([openPlaced(context, key, placed), nodesOf(context)])
  const readers = readersOf(consent.group.set)
  const { sealed } = await sealSpecs(specs, (n) => [
    nodes.find((node) => node.id === placed.slots[n]!.node)!.seal,
    ...readers,
  ])
  for (const { bytes } of sealed) await putSpec(context, bytes)
  return await proposeStep(
    act,
    'migrate',
    resealOf(
      consent.state,
      sealed.map((s) => s.blob),
    ),
  )
}
