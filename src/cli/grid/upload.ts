import type { HubCall } from '#cas'
import { ZosError } from '#codec'
import { type Library, reachable } from '#zosfs'
import { atEachHub, type Context } from './context.ts'

const BATCH = 5000
const AT_ONCE = 8

/**
 * Brings to each of the grid's hubs what it lacks of the manifest DIGEST; a hub checks every object. Broken off, it goes on
 * where it ended: what is there is not sent again. Gives how many objects were sent.
 */
export async function uploadMissing({ hubs }: Context, library: Library, digest: string): Promise<number> {
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
  for (let at = 0; at < all.length; at += BATCH) {
    const { body } = await hub('POST', '/missing', { ids: all.slice(at, at + BATCH) })
    const { missing } = JSON.parse(body.toString()) as { missing: string[] }
    const queue = missing.values()
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (const id of queue) {
          await send(hub, library, id)
          sent++
        }
      }),
    )
  }
  await hub('POST', '/flush')
  return sent
}

async function send(hub: HubCall, library: Library, id: string): Promise<void> {
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
