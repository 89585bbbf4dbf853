import { codeOf, ZosError } from '#codec'
import { type Key, type MemberSet, openSealed, ROLE, type Salted, type Transition } from '#contract'
import { type Context, getSpec } from './context.ts'

/** To whom the specs of a group are sealed besides their nodes. */
export const readersOf = (set: MemberSet): `0x${string}`[] =>
  set.members.filter((m) => m.roles & ROLE.read).map((m) => m.seal)

/** The specs of all slots PLACED, in their order, opened with KEY: only a reader can seal them to others. */
export async function openPlaced(context: Context, key: Key, placed: Transition): Promise<Salted[]> {
  const specs: Salted[] = []
  for (const index of placed.slots.keys()) specs.push(await openOne(context, key, placed, index))
  return specs
}

/** The spec at place INDEX of PLACED. */
export async function openOne(context: Context, key: Key, placed: Transition, index: number): Promise<Salted> {
  const { blob, index: slot } = placed.slots[index]!
  const bytes = await getSpec(context, blob)
  if (!bytes)
    throw new ZosError(`Open the specs of "${placed.name}": that of slot ${slot} is not at the hub`, {
      code: 'no-spec',
    })
  const expected = { blob, specRoot: placed.specRoot, index, count: placed.slots.length }
  return openSealed(bytes, key.sealSecret, expected).catch((cause: unknown) => {
    if (codeOf(cause) !== 'not-a-recipient') throw cause
    throw new ZosError(
      `Open the specs of "${placed.name}": that of slot ${slot} is not sealed to "${key.name}"; a member who reads it seals it to all who may now: zos reseal ${placed.name}`,
      { code: 'not-a-recipient', cause },
    )
  })
}
