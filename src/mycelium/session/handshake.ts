/**
 * Inner type of our own, which others drop unread. Sealed in the legacy form: `1 | 0 0 0 | Noise message` (initiation, its
 * payload `index u32 | time u64`, milliseconds since 1970) and `2 | 0 0 0 | initiator's index u32 | Noise message`
 * (response, its payload `index u32`). Sealed in a session: `3 | 0 0 0`, which only says that we live.
 */
export const SESSION = 18
export const KEEPALIVE = Buffer.from([3, 0, 0, 0])
export const PROLOGUE = Buffer.from('zos mycelium session 1')
const INITIATION = 1
const RESPONSE = 2
const HEADER = 4

export type Handshake =
  | { kind: 'initiation'; message: Buffer }
  | { kind: 'response'; index: number; message: Buffer }
  | { kind: 'keepalive' }

export const encodeInitiation = (message: Buffer): Buffer =>
  Buffer.concat([Buffer.from([INITIATION, 0, 0, 0]), message])

export function encodeResponse(index: number, message: Buffer): Buffer {
  const head = Buffer.from([RESPONSE, 0, 0, 0, 0, 0, 0, 0])
  head.writeUInt32BE(index, HEADER)
  return Buffer.concat([head, message])
}

export function decodeHandshake(payload: Buffer): Handshake | undefined {
  if (payload.length < HEADER) return undefined
  if (payload[0] === KEEPALIVE[0]) return { kind: 'keepalive' }
  if (payload[0] === INITIATION) return { kind: 'initiation', message: payload.subarray(HEADER) }
  if (payload[0] !== RESPONSE || payload.length < HEADER + 4) return undefined
  return { kind: 'response', index: payload.readUInt32BE(HEADER), message: payload.subarray(HEADER + 4) }
}

export function encodeOffer(index: number, time?: number): Buffer {
  const bytes = Buffer.alloc(time === undefined ? 4 : 12)
  bytes.writeUInt32BE(index)
  if (time !== undefined) bytes.writeBigUInt64BE(BigInt(time), 4)
  return bytes
}

export const offeredIndex = (payload: Buffer): number | undefined =>
  payload.length >= 4 ? payload.readUInt32BE(0) : undefined
export const offeredTime = (payload: Buffer): number =>
  payload.length >= 12 ? Number(payload.readBigUInt64BE(4)) : Number.NEGATIVE_INFINITY
