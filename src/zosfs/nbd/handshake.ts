import { ZosError } from '#codec'
import {
  ALLOCATION,
  ALLOCATION_ID,
  FIXED_NEWSTYLE,
  FLAG,
  INFO_BLOCK_SIZE,
  INFO_EXPORT,
  INIT_MAGIC,
  MAX_REQUEST,
  NO_ZEROES,
  OPT,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  REP,
} from './protocol.ts'

/** The client's side of the wire during the handshake. */
export type Wire = {
  /** Exactly N bytes; rejects when the connection ends. */
  take(n: number): Promise<Buffer>
  send(bytes: Buffer): void
}

/** What was agreed on; undefined when the client left. */
export type Agreed = { structured: boolean; allocation: boolean }

const OPTION_LIMIT = 16 << 10
const OPTIONS_LIMIT = 64

const refuse = (why: string): never => {
  throw new ZosError(`NBD handshake: ${why}`, { code: 'nbd-handshake' })
}

function reply(option: number, type: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const out = Buffer.allocUnsafe(20 + payload.length)
  out.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0)
  out.writeUInt32BE(option, 8)
  out.writeUInt32BE(type, 12)
  out.writeUInt32BE(payload.length, 16)
  out.set(payload, 20)
  return out
}

const flagsOf = (structured: boolean) =>
  FLAG.HAS_FLAGS | FLAG.READ_ONLY | FLAG.CAN_MULTI_CONN | FLAG.SEND_CACHE | (structured ? FLAG.SEND_DF : 0)

function infoExport(size: number, structured: boolean): Buffer {
  const out = Buffer.alloc(12)
  out.writeUInt16BE(INFO_EXPORT, 0)
  out.writeBigUInt64BE(BigInt(size), 2)
  out.writeUInt16BE(flagsOf(structured), 10)
  return out
}

function infoBlockSize(): Buffer {
  const out = Buffer.alloc(14)
  out.writeUInt16BE(INFO_BLOCK_SIZE, 0)
  out.writeUInt32BE(1, 2)
  out.writeUInt32BE(4096, 6)
  out.writeUInt32BE(MAX_REQUEST, 10)
  return out
}

/** Name and wanted kinds of an INFO or GO option; undefined when malformed. */
function parseInfo(data: Buffer): { name: string; wanted: number[] } | undefined {
  if (data.length < 6) return undefined
  const length = data.readUInt32BE(0)
  if (length > data.length - 6) return undefined
  const count = data.readUInt16BE(4 + length)
  if (data.length !== 6 + length + 2 * count) return undefined
  const wanted = Array.from({ length: count }, (_, n) => data.readUInt16BE(6 + length + 2 * n))
  return { name: data.toString('utf8', 4, 4 + length), wanted }
}

/** Name and queries of a metadata context option; undefined when malformed. */
function parseContexts(data: Buffer): { name: string; queries: string[] } | undefined {
  if (data.length < 8) return undefined
  const length = data.readUInt32BE(0)
  if (length > data.length - 8) return undefined
  const name = data.toString('utf8', 4, 4 + length)
  const count = data.readUInt32BE(4 + length)
  const queries: string[] = []
  let at = 8 + length
  for (let n = 0; n < count; n++) {
    if (data.length - at < 4) return undefined
    const bytes = data.readUInt32BE(at)
    if (bytes > data.length - at - 4) return undefined
    queries.push(data.toString('utf8', at + 4, at + 4 + bytes))
    at += 4 + bytes
  }
  return at === data.length ? { name, queries } : undefined
}

function metaContext(): Buffer {
  const out = Buffer.alloc(4 + ALLOCATION.length)
  out.writeUInt32BE(ALLOCATION_ID, 0)
  out.write(ALLOCATION, 4)
  return out
}

/**
 * Fixed newstyle negotiation for the one export NAME of SIZE bytes; the empty name means it too. Returns undefined when
 * the client ends it; throws `nbd-handshake` on garbage: the connection is then closed.
 */
export async function handshake(wire: Wire, name: string, size: number): Promise<Agreed | undefined> {
  const hello = Buffer.alloc(18)
  hello.writeBigUInt64BE(INIT_MAGIC, 0)
  hello.writeBigUInt64BE(OPTION_MAGIC, 8)
  hello.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, 16)
  wire.send(hello)
  const flags = (await wire.take(4)).readUInt32BE(0)
  if (flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) refuse(`unknown client flags ${flags}`)
  const ours = (asked: string) => asked === '' || asked === name
  let structured = false
  let allocation = false

  for (let n = 0; n < OPTIONS_LIMIT; n++) {
    const head = await wire.take(16)
    if (head.readBigUInt64BE(0) !== OPTION_MAGIC) refuse('option without its magic')
    const option = head.readUInt32BE(8)
    const length = head.readUInt32BE(12)
    if (length > OPTION_LIMIT) refuse(`option ${option} of ${length} bytes`)
    const data = await wire.take(length)
    const answer = (type: number, payload?: Buffer) => wire.send(reply(option, type, payload))
    switch (option) {
      case OPT.EXPORT_NAME: {
        // this old option has no error reply: closing is the only refusal
        if (!ours(data.toString())) refuse(`no export "${data.toString()}"`)
        const out = Buffer.alloc(flags & NO_ZEROES ? 10 : 134)
        out.writeBigUInt64BE(BigInt(size), 0)
        out.writeUInt16BE(flagsOf(structured), 8)
        wire.send(out)
        return { structured, allocation }
      }
      case OPT.ABORT:
        answer(REP.ACK)
        return undefined
      case OPT.LIST: {
        if (length > 0) {
          answer(REP.ERR_INVALID)
          break
        }
        const entry = Buffer.alloc(4 + Buffer.byteLength(name))
        entry.writeUInt32BE(Buffer.byteLength(name), 0)
        entry.write(name, 4)
        answer(REP.SERVER, entry)
        answer(REP.ACK)
        break
      }
      case OPT.STRUCTURED_REPLY:
        if (length === 0) structured = true
        answer(length === 0 ? REP.ACK : REP.ERR_INVALID)
        break
      case OPT.LIST_META_CONTEXT:
      case OPT.SET_META_CONTEXT: {
        const asked = parseContexts(data)
        if (!asked || !structured) answer(REP.ERR_INVALID)
        else if (!ours(asked.name)) answer(REP.ERR_UNKNOWN)
        else {
          const listed =
            option === OPT.LIST_META_CONTEXT && (asked.queries.length === 0 || asked.queries.includes('base:'))
          const wanted = listed || asked.queries.includes(ALLOCATION)
          if (option === OPT.SET_META_CONTEXT) allocation = wanted
          if (wanted) answer(REP.META_CONTEXT, metaContext())
          answer(REP.ACK)
        }
        break
      }
      case OPT.INFO:
      case OPT.GO: {
        const asked = parseInfo(data)
        if (!asked) answer(REP.ERR_INVALID)
        else if (!ours(asked.name)) answer(REP.ERR_UNKNOWN)
        else {
          answer(REP.INFO, infoExport(size, structured))
          if (asked.wanted.includes(INFO_BLOCK_SIZE)) answer(REP.INFO, infoBlockSize())
          answer(REP.ACK)
          if (option === OPT.GO) return { structured, allocation }
        }
        break
      }
      default:
        answer(REP.ERR_UNSUP)
    }
  }
  return refuse(`more than ${OPTIONS_LIMIT} options`)
}
