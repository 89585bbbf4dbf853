import { ZosError } from '#codec'

export type ConsentCode =
  | 'stale-epoch'
  | 'not-the-successor'
  | 'not-a-member'
  | 'bad-signature'
  | 'not-enough-weight'
  | 'bad-set'
  | 'bad-transition'
  | 'wrong-state'
  | 'wrong-group'
  | 'expired'
  | 'already-froze'

/** Why a step is not the group's consent. */
export function refuse(code: ConsentCode, reason: string, details: Record<string, unknown> = {}): ZosError {
  return new ZosError(`Verify consent: ${reason}`, { code, details })
}
