import { BATCH_OBJECTS, encodeObjects, type HubCall, type StoredObject, sizeInBatch } from '#cas'
import { codeOf, ZosError } from '#codec'
import { type Library, reachable } from '#zosfs'
import { atEachHub, type Context } from './context.ts'

/** Ids in one question for what is missing; batches on their way at once. */
const ASKED = 5000
const AT_ONCE = 4
/** A batch is full at so many bytes; what is above LARGE travels alone, so that none comes near what a hub takes. */
const FULL = 2 << 20
const LARGE = 1 << 20

/**
 * Brings to each of the grid's hubs what it lacks of the manifest DIGEST; a hub checks every object. Broken off, it goes on
 * where it ended: what is there is not sent again. Gives how many objects were sent.
 */
export async function uploadMissing(
  { hubs }: Pick<Context, 'hubs'>,
  library: Library,
  digest: string,
): Promise<number> {
  const ids = new Set<string>()
  for await (const id of reachable(library.store, digest)) ids.add(id)
  let sent = 0
  await atEachHub(hubs, async (hub) => {
    sent += await uploadTo(hub, library, [...ids])
  })
  return sent
}

async function uploadTo(hub: HubCall, library: Library, all: string[]): Promise<number> {
  let sent = 0
  for (let at = 0; at < all.length; at += ASKED) {
    const { body } = await hub('POST', '/missing', { ids: all.slice(at, at + ASKED) })
    const { missing } = JSON.parse(body.toString()) as { missing: string[] }
    const queue = missing.values()
    await Promise.all(Array.from({ length: AT_ONCE }, () => drain(hub, library, queue)))
    sent += missing.length
  }
  // durable from here on, all of it by one flush
  await hub('POST', '/flush')
  return sent
}

/** Sends what QUEUE has, shared with others that do the same, until it is empty. */
async function drain(hub: HubCall, library: Library, queue: Iterator<string, undefined>): Promise<void> {
  const { local, hub: source } = library.store
  let batch: StoredObject[] = []
  let size = 0
  for (let next = queue.next(); !next.done; next = queue.next()) {
    const id = next.value
    const stored = (await local?.get(id)) ?? (await source?.get(id))
    if (!stored || stored.length > LARGE) {
      await sendAlone(hub, library, id)
      continue
    }
    batch.push({ id, stored })
    size += sizeInBatch({ id, stored })
    if (size < FULL && batch.length < BATCH_OBJECTS) continue
    await sendBatch(hub, library, batch)
    batch = []
    size = 0
  }
  if (batch.length > 0) await sendBatch(hub, library, batch)
}

async function sendBatch(hub: HubCall, library: Library, batch: StoredObject[]): Promise<void> {
  try {
    await hub('POST', '/objects', encodeObjects(batch))
  } catch (error) {
    if (codeOf(error) !== 'bad-object') throw error
    // a copy damaged here was refused there
    for (const { id } of batch) await sendAlone(hub, library, id)
  }
}

async function sendAlone(hub: HubCall, library: Library, id: string): Promise<void> {
  const { local, hub: source } = library.store
  let wrong: unknown
  // a copy damaged here is refused there: then the other place may have a good one
  for (const place of [local, source]) {
    const stored = await place?.get(id)
    if (!stored) continue
    try {
      await hub('PUT', `/objects/${id}`, stored)
      return
    } catch (error) {
      wrong = error
    }
  }
  throw (
    wrong ??
    new ZosError(`Upload "${id}": neither this home nor its hub has it; publish the image again`, {
      code: 'chunk-missing',
    })
  )
}
