import { ByteReader, ByteWriter } from '#codec'
import { FRAME_LIMIT } from './journal.ts'

/** The first frame: what the chain is. */
export type GenesisRecord = { chainId: number; timestamp: number }
/** Every further frame: all that executing a block depends on besides the state before it. */
export type BlockRecord = { number: number; timestamp: number; parent: Uint8Array; transactions: Uint8Array[] }

const GENESIS = 1
const BLOCK = 2

export function encodeGenesis(r: GenesisRecord): Buffer {
  return new ByteWriter(32).u8(GENESIS).varint(r.chainId).varint(r.timestamp).done()
}

export function decodeGenesis(bytes: Uint8Array): GenesisRecord {
  const r = new ByteReader(bytes, 'chain genesis')
  if (r.u8() !== GENESIS) r.fail('not a genesis record')
  const record = { chainId: r.varint(), timestamp: r.varint() }
  r.end()
  return record
}

export function encodeBlock(b: BlockRecord): Buffer {
  const w = new ByteWriter().u8(BLOCK).varint(b.number).varint(b.timestamp).bytes(b.parent)
  w.varint(b.transactions.length)
  for (const raw of b.transactions) w.blob(raw)
  return w.done()
}

export function decodeBlock(bytes: Uint8Array): BlockRecord {
  const r = new ByteReader(bytes, 'chain block')
  if (r.u8() !== BLOCK) r.fail('not a block record')
  const number = r.varint()
  const timestamp = r.varint()
  const parent = Buffer.from(r.bytes(32))
  const count = r.varint()
  if (count > r.left) r.fail(`${count} transactions in ${r.left} bytes`)
  const transactions: Buffer[] = []
  for (let i = 0; i < count; i++) transactions.push(Buffer.from(r.blob(FRAME_LIMIT)))
  r.end()
  return { number, timestamp, parent, transactions }
}
