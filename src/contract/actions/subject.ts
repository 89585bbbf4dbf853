import { hexToString, z } from '#npm'
import { type MemberSet, memberSetSchema, type Transition, transitionSchema } from '../typed/schema.ts'

/** What is proposed: a deployment's next step, or the group's next members. */
export type Subject = { transition: Transition } | { set: MemberSet }

const subjectSchema = z.union([
  z.strictObject({ transition: transitionSchema }),
  z.strictObject({ set: memberSetSchema }),
])

/** What was put up with a signature, if it is a proposal. */
export function subjectOf(data: `0x${string}`): Subject | undefined {
  try {
    return subjectSchema.parse(JSON.parse(hexToString(data)))
  } catch {
    return undefined
  }
}
