import { canonicalJson, codeOf, plain, reasonOf, ZosError } from '#codec'
import { z } from '#npm'
import { type Domain, deploymentId } from '../typed/digest.ts'
import { address, freezeSchema, memberSetSchema, signatureSchema, transitionSchema } from '../typed/schema.ts'
import { applySet, type Evidence, foundGroup, type GroupState } from './set.ts'
import { applyApproval, applyFreeze, type ConsentState, noConsent } from './step.ts'

const freezeEntry = z.strictObject({ freeze: freezeSchema, signature: signatureSchema })
const approvalEntry = z.strictObject({
  transition: transitionSchema,
  signatures: z.array(signatureSchema).min(1).max(56),
  freezes: z.array(freezeEntry).max(56),
})
const setEntry = z.strictObject({ set: memberSetSchema, signatures: z.array(signatureSchema).max(56) })

/** docs/formats/approval-log.md. Nothing in it but what signatures cover and the hashes they chain. */
const logSchema = z.strictObject({
  format: z.literal('zos-approval-log/1'),
  chainId: z.int().positive(),
  contract: address,
  sets: z.array(setEntry).min(1).max(10_000),
  approvals: z.array(approvalEntry).min(1).max(100_000),
})
export type ApprovalLog = z.infer<typeof logSchema>

export type VerifiedLog = { group: GroupState; state: ConsentState; log: ApprovalLog }

// a reason quotes the file, whose bytes are anybody's
const bad = (reason: string, cause?: unknown) =>
  new ZosError(`Verify approval log: ${plain(reason)}`, { code: 'bad-log', ...(cause === undefined ? {} : { cause }) })

/** The file's text: canonical, so that each of its bytes is either signed or fixed by the format. */
export function encodeLog(log: ApprovalLog): string {
  return `${canonicalJson(log)}\n`
}

/** Says it itself: the packed `./zos` carries none of zod's words, and those speak of types to people who ask who signed. */
function foundAt(issue: z.core.$ZodIssue): string {
  const [part, n] = issue.path
  const step = part === 'approvals' && typeof n === 'number' ? ` (step ${n + 1})` : ''
  const what =
    issue.code === 'unrecognized_keys'
      ? `it has "${issue.keys.join('", "')}", which nobody signs`
      : 'it is missing, or not as a log has it'
  return `at "${issue.path.join('.')}"${step}: ${what}; this is not what was signed: take the log again with "zos log NAME --json"`
}

export function decodeLog(text: string): ApprovalLog {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw bad(`not JSON: ${reasonOf(cause)}`, cause)
  }
  const parsed = logSchema.safeParse(json)
  if (!parsed.success) {
    throw bad(foundAt(parsed.error.issues[0]!))
  }
  if (encodeLog(parsed.data) !== text) throw bad('not in its canonical form')
  return parsed.data
}

/** A step that needs a set is not to be blamed for what the set is not. */
function nextSet(group: GroupState, { set, signatures }: ApprovalLog['sets'][number], evidence?: Evidence): GroupState {
  try {
    return applySet(group, set, signatures, evidence)
  } catch (cause) {
    const reason = reasonOf(cause).replace(/^Verify consent: /, '')
    const founded =
      codeOf(cause) === 'wrong-group' ? '; the chain, the contract or the founding set is not the one' : ''
    throw new ZosError(`Verify approval log: member set of epoch ${set.epoch}: ${reason}${founded}`, {
      code: 'bad-log',
      details: { epoch: set.epoch, code: codeOf(cause) },
      cause,
    })
  }
}

/**
 * Replays a log from its founding set: every signature, every link, every rule. Needs nothing but the text. What it
 * cannot know: whether the chain has gone on since (a log cut after a step is the log as of that step), and whether
 * `group` is the group you mean: compare its id. Members that are contracts count with EVIDENCE alone.
 */
export function verifyLog(text: string, evidence?: Evidence): VerifiedLog {
  const log = decodeLog(text)
  const options = evidence ? { evidence } : {}
  const domain: Domain = { chainId: log.chainId, contract: log.contract }
  const [founding, ...later] = log.sets
  if (founding!.signatures.length > 0) throw bad('the founding set carries signatures, which nothing asks for')
  let group = foundGroup(domain, founding!.set)
  let state = noConsent(log.approvals[0]!.transition.name)
  const reach = (there: () => boolean) => {
    while (!there() && later.length > 0) {
      const next = later.shift()!
      group = nextSet(group, next, evidence)
    }
  }
  for (const [n, entry] of log.approvals.entries()) {
    try {
      reach(() => group.digest === entry.transition.set)
      state = applyApproval(group, state, entry.transition, entry.signatures, options)
      for (const f of entry.freezes) {
        reach(() => group.set.epoch === f.freeze.epoch)
        state = applyFreeze(group, state, f.freeze, f.signature, options)
      }
    } catch (cause) {
      if (codeOf(cause) === 'bad-log') throw cause
      throw new ZosError(`Verify approval log: step ${n + 1}: ${reasonOf(cause).replace(/^Verify consent: /, '')}`, {
        code: 'bad-log',
        details: { step: n + 1, code: (cause as { code?: string }).code },
        cause,
      })
    }
  }
  for (const next of later) group = nextSet(group, next, evidence)
  return { group, state, log }
}

/** The deployment's id as the contract knows it. */
export const deploymentOf = (v: VerifiedLog) => deploymentId(v.group.group, v.state.name)
