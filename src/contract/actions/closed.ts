import { deploymentId, digestOf } from '../typed/digest.ts'
import { memberSetSchema, transitionSchema } from '../typed/schema.ts'
import { readStep } from './deployments.ts'
import type { Grid } from './grid.ts'
import { events } from './logs.ts'
import { type Subject, subjectOf } from './subject.ts'

type Hex = `0x${string}`

/** What became of the proposal of GROUP whose id begins with BEGIN, and is not open; undefined where none ever began so. */
export async function whyClosed(grid: Grid, group: Hex, begin: string): Promise<string | undefined> {
  const { number } = await grid.engine.finalized()
  const posted = await events(grid, ['Posted'], [group], { to: BigInt(number) })
  for (const { args } of posted) {
    const id = args.digest as Hex
    const subject = id.startsWith(begin) ? subjectOf(args.data as Hex) : undefined
    if (subject) return outcome(grid, group, id, subject, BigInt(number))
  }
  return undefined
}

async function outcome(grid: Grid, group: Hex, id: Hex, subject: Subject, to: bigint): Promise<string> {
  const { deadline } = 'set' in subject ? subject.set : subject.transition
  const over = deadline < Date.now() / 1000 ? 'its time is over; propose it anew' : undefined
  const changed = "the group's members changed since it was proposed; propose it anew"
  if ('set' in subject) {
    const sets = await events(grid, ['GroupSet'], [group], { to })
    const isTaken = sets.some(({ args }) => {
      const { success, data } = memberSetSchema.safeParse(args.set)
      return success && digestOf(grid.domain, 'MemberSet', data) === id
    })
    return isTaken ? `it was agreed on, and made epoch ${subject.set.epoch}` : (over ?? changed)
  }
  const { name, sequence } = subject.transition
  const steps = await events(grid, ['Approved'], [deploymentId(group, name)], { to })
  const isTaken = steps.some(({ args }) => {
    const { success, data } = transitionSchema.safeParse(args.transition)
    return success && digestOf(grid.domain, 'Transition', data) === id
  })
  if (isTaken) return `it was agreed on, as step ${sequence} of "${name}"`
  const now = await readStep(grid, group, name)
  if (now.sequence >= sequence) return `"${name}" has gone on to step ${now.sequence} without it; propose it anew`
  return over ?? changed
}
