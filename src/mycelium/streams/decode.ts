import { HEADER, type Heard, KIND, MAX_REASON, MAX_SERVICE } from './wire.ts'

// What other nodes sent is taken apart where no ffi is: on the packet thread, which alone loads this file.

/** The service an OPEN asks for; empty when it names none. */
function serviceOf(body: Buffer): string {
  const length = body[0] ?? 0
  if (length < 1 || length > MAX_SERVICE || 1 + length > body.length) return ''
  const name = body.toString('latin1', 1, 1 + length)
  return /^[a-z0-9-]+$/.test(name) ? name : ''
}

function textOf(kind: number, body: Buffer): string {
  if (kind === KIND.open) return serviceOf(body)
  return kind === KIND.reset ? body.toString('utf8', 0, MAX_REASON) : ''
}

/** Undefined for what is no piece. */
export function decodePiece(bytes: Buffer): Heard | undefined {
  if (bytes.length < HEADER) return undefined
  const [kind, opener] = [bytes[0]!, bytes[1]!]
  if (kind < KIND.open || kind > KIND.reset || opener > 1) return undefined
  const body = bytes.subarray(HEADER)
  if (kind === KIND.data && body.length === 0) return undefined
  return {
    kind,
    opener: opener === 1,
    window: bytes.readUInt16BE(2),
    stream: bytes.readUInt32BE(4),
    number: bytes.readUInt32BE(8),
    body,
    text: textOf(kind, body),
  }
}
