import { codeOf } from '#codec'
import {
  describe,
  type Key,
  listKeys,
  openSealed,
  type Proposal,
  readGroup,
  type SlotSpec,
  signerOf,
  type Transition,
} from '#contract'
import { type Context, getSpec, nodesOf } from './context.ts'
import { keysDir } from './local.ts'

/** The specs of T's slots as this key may read them, each checked against the signed root; else why there are none. */
async function readSpecs(context: Context, key: Key, t: Transition): Promise<SlotSpec[] | 'sealed' | 'lost'> {
  const specs: SlotSpec[] = []
  for (const [index, { blob }] of t.slots.entries()) {
    const bytes = await getSpec(context, blob)
    if (!bytes) return 'lost'
    try {
      const expected = { blob, specRoot: t.specRoot, index, count: t.slots.length }
      specs.push((await openSealed(bytes, key.sealSecret, expected)).spec)
    } catch (error) {
      // sealed to others is an answer; bytes that are not what is to be signed are not
      if (codeOf(error) !== 'not-a-recipient') throw error
      return 'sealed'
    }
  }
  return specs
}

/** What an approval would do, in words and as a diff to BEFORE; no value of a variable or secret is in it. */
export async function wordsOf(context: Context, key: Key, p: Proposal, before: Transition | null): Promise<string[]> {
  const [nodes, { set }, keys] = await Promise.all([
    nodesOf(context),
    readGroup(context.grid, p.group),
    listKeys(keysDir()),
  ])
  const t = 'set' in p.subject ? undefined : p.subject.transition
  const specs = t && t.slots.length > 0 ? await readSpecs(context, key, t) : undefined
  const earlier = Array.isArray(specs) && before ? await readSpecs(context, key, before) : undefined
  return describe(p.subject, {
    nodes,
    set,
    nameOf: (member) => keys.find((k) => signerOf(context.grid.domain, k.address) === member)?.name,
    ...(Array.isArray(specs) ? { specs } : { isLost: specs === 'lost' }),
    ...(Array.isArray(earlier) ? { before: earlier } : {}),
    ...(before ? { placed: before } : {}),
  })
}
