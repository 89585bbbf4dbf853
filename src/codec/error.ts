/** Who has to act on an error: the person at the keyboard, the node itself, or we. */
export type ErrorKind = 'user' | 'node' | 'bug'

export type ZosErrorOptions = {
  /** A stable kebab-case word per cause, unique in its domain: callers compare this, never the text. */
  code: string
  kind?: ErrorKind
  /** Structured facts (paths, digests, limits) for `--json` and tests. No secrets. */
  details?: Record<string, unknown>
  cause?: unknown
}

/**
 * The one error class. Message: sentence case, no full stop, the action that failed, values quoted, a colon before
 * the reason, then what to do next.
 */
export class ZosError extends Error {
  override readonly name = 'ZosError'
  readonly code: string
  readonly kind: ErrorKind
  readonly details: Record<string, unknown>

  constructor(message: string, options: ZosErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = options.code
    this.kind = options.kind ?? 'user'
    this.details = options.details ?? {}
  }
}

/** The text of whatever was thrown, for joining after a colon. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The `code` of a system or Zos error, or '' when it has none. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : ''
}

/** Without what would steer a terminal or break a line: a workload's words, and the names in an image, are anybody's. */
export const plain = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?')
