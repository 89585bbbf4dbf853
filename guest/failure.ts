import type { AgentFailure } from '../src/vm/agent/types.ts'

/** Why a request is refused, or why a child's program does not run; travels to the host as AgentFailure. */
export class Failure extends Error {
  readonly code: string
  /** Docker's 126 or 127, of a program that never ran. */
  readonly exitCode: number | undefined
  constructor(code: string, message: string, exitCode?: number) {
    super(message)
    this.code = code
    this.exitCode = exitCode
  }
}

export function failureOf(error: unknown): AgentFailure {
  const { message } = error as Error
  if (!(error instanceof Failure)) return { code: 'guest-failed', message }
  return error.exitCode === undefined
    ? { code: error.code, message }
    : { code: error.code, message, exitCode: error.exitCode }
}
