import { ZosError } from '#codec'
import { decodeJson } from './protocol.ts'
import type { AgentFailure, AgentState, ExitStatus } from './types.ts'

/** A guest may say anything: what goes on to files and terminals is checked here. */
const bad = (what: string): ZosError =>
  new ZosError(`Talk to the agent: it sent no ${what}`, { code: 'agent-gone', kind: 'node' })

const LONGEST = 4096

/** VALUE as one line of at most 4096 characters that no terminal obeys. */
export function plainText(value: unknown): string {
  if (typeof value !== 'string') return ''
  const obeyed = (code: number) => code < 0x20 || (code >= 0x7f && code < 0xa0)
  return [...value.slice(0, LONGEST)].map((c) => (obeyed(c.codePointAt(0)!) ? '\ufffd' : c)).join('')
}

function objectOf(payload: Uint8Array, from: number, what: string): Record<string, unknown> {
  let value: unknown
  try {
    value = decodeJson(payload, from)
  } catch {
    throw bad(what)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(what)
  return value as Record<string, unknown>
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

export function decodeState(payload: Uint8Array, from: number): AgentState {
  const { version, phase, pid, from: first, to, stdinCredit } = objectOf(payload, from, 'state')
  const known = phase === 'idle' || phase === 'running' || phase === 'exited'
  if (!known || !isCount(version) || !isCount(pid) || !isCount(first) || !isCount(to) || !isCount(stdinCredit))
    throw bad('state')
  return { version, phase, pid, from: first, to, stdinCredit }
}

export function decodeExit(payload: Uint8Array): ExitStatus {
  const { code, signal, oom, reason } = objectOf(payload, 0, 'exit status')
  if (!isCount(code) || code > 255 || typeof oom !== 'boolean' || (signal !== null && typeof signal !== 'string'))
    throw bad('exit status')
  return { code, signal: signal === null ? null : plainText(signal).slice(0, 16), oom, reason: plainText(reason) }
}

function failureFrom({ code, message, exitCode }: Record<string, unknown>): AgentFailure {
  const failure = { code: plainText(code).slice(0, 64) || 'guest-failed', message: plainText(message) }
  return isCount(exitCode) && exitCode <= 255 ? { ...failure, exitCode } : failure
}

export const decodeFailure = (payload: Uint8Array): AgentFailure => failureFrom(objectOf(payload, 0, 'failure'))

/** What a method gave, or why it did not. The value's shape is the asker's to check. */
export function decodeReply(payload: Uint8Array): { ok: unknown } | { error: AgentFailure } {
  const reply = objectOf(payload, 0, 'reply')
  if (reply.error === undefined) return { ok: reply.ok ?? null }
  if (typeof reply.error !== 'object' || reply.error === null) throw bad('reply')
  return { error: failureFrom(reply.error as Record<string, unknown>) }
}
