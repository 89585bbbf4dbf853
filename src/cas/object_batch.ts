import { ZosError } from '#codec'

/** What one request may bring: objects, and bytes of its body. docs/formats/hub.md. */
export const BATCH_OBJECTS = 512
export const BATCH_BODY = 8 << 20

/** An object as it is kept. */
export type StoredObject = { id: string; stored: Uint8Array }

const ID = 32
const HEAD = ID + 4

/** Bytes that OBJECT takes in a batch. */
export const sizeInBatch = ({ stored }: StoredObject): number => HEAD + stored.length

/** For each object: its id (32 bytes), the length of its stored form (u32, big endian), that many bytes. */
export function encodeObjects(objects: readonly StoredObject[]): Buffer {
  const parts = objects.flatMap(({ id, stored }) => {
    const head = Buffer.alloc(HEAD)
    head.write(id, 'hex')
    head.writeUInt32BE(stored.length, ID)
    return [head, stored]
  })
  return Buffer.concat(parts)
}

/** The objects of a batch, as views of BYTES; one that ends in the middle of an object is refused whole. */
export function decodeObjects(bytes: Buffer): (StoredObject & { stored: Buffer })[] {
  const bad = (reason: string) => new ZosError(`Read batch of objects: ${reason}`, { code: 'bad-batch' })
  const objects: (StoredObject & { stored: Buffer })[] = []
  for (let at = 0; at < bytes.length; ) {
    if (objects.length === BATCH_OBJECTS) throw bad(`more than ${BATCH_OBJECTS}`)
    if (bytes.length - at < HEAD) throw bad(`${bytes.length - at} bytes are left, a head has ${HEAD}`)
    const length = bytes.readUInt32BE(at + ID)
    const begin = at + HEAD
    if (bytes.length - begin < length) throw bad(`${bytes.length - begin} bytes are left where ${length} are announced`)
    objects.push({ id: bytes.toString('hex', at, at + ID), stored: bytes.subarray(begin, begin + length) })
    at = begin + length
  }
  return objects
}
