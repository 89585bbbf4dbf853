import type { IncomingMessage } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { BATCH_BODY, decodeObjects } from '#cas'
import { ZosError } from '#codec'
import { decodeTrace, TRACE_LIMIT } from '#zosfs'
import type { Access } from './access.ts'
import type { Asker, Askers } from './asker.ts'
import { type Budget, readBody } from './body.ts'
import type { Metrics } from './metrics.ts'
import { objectReply } from './object_body.ts'
import { batch, type Check, checkId, checkSpec, missing, takeObject } from './objects.ts'
import type { HubPlace } from './place.ts'
import type { Uploading } from './uploading.ts'

export type Reply = {
  status: number
  body?: Uint8Array | object | string | AsyncIterable<Uint8Array>
  headers?: Record<string, string>
  /** To be called once the answer is sent, or its client gone. */
  release?: () => void
}
export type Ask = { req: IncomingMessage; id: string; query: URLSearchParams }
export type Routes = Record<string, (ask: Ask) => Promise<Reply>>

export type Serving = {
  place: HubPlace
  access: Access
  askers: Askers
  metrics: Metrics
  budget: Budget
  check: Check
  deletes: boolean
  uploading: Uploading
}

/** The largest object in its stored form: a blob's limit and its prefix byte. */
const OBJECT_LIMIT = (256 << 20) + 1
const SPEC_LIMIT = 4 << 20
const JSON_LIMIT = 1 << 20

/** What a hub answers, by method and pattern. docs/formats/hub.md. */
export function routesOf({ place, access, askers, metrics, budget, check, deletes, uploading }: Serving): Routes {
  const { objects, named } = place

  /** Reads the body, tells who signed it, and gives the bytes back to the budget when WORK is done. */
  const withBody = async <T>(
    req: IncomingMessage,
    limit: number,
    work: (bytes: Buffer, who: Asker) => Promise<T>,
  ): Promise<T> => {
    const { bytes, release } = await readBody(req, limit, budget)
    try {
      metrics.count('zos_hub_received_bytes_total', {}, bytes.length)
      return await work(bytes, askers.of(req, bytes))
    } finally {
      release()
    }
  }
  const without = (req: IncomingMessage) => askers.of(req, Buffer.alloc(0))
  /** What FIND gives of an object, to whom may know of it: to others it is as if there were none. */
  const found = async <T>(who: Asker, id: string, find: () => Promise<T | undefined>): Promise<T | undefined> => {
    const it = (await access.mayRead(checkId(id), who)) ? await find() : undefined
    // absent or another's, the same is said
    if (it === undefined) await access.explain(who)
    return it
  }
  const has = async (who: Asker, id: string): Promise<boolean> =>
    (await found(who, id, async () => (await objects.has(id)) || undefined)) === true
  const ownerOf = (req: IncomingMessage, who: Asker) =>
    access.ownerOf(req.headers['x-zos-domain'] as string | undefined, who)

  const asked = <T>(req: IncomingMessage, work: (ids: unknown, who: Asker) => Promise<T>) =>
    withBody(req, JSON_LIMIT, async (bytes, who) => {
      let json: { ids?: unknown }
      try {
        json = JSON.parse(bytes.toString()) as { ids?: unknown }
      } catch (cause) {
        throw new ZosError('Read request: not JSON', { code: 'bad-request', cause })
      }
      await access.explain(who)
      return work(json?.ids, who)
    })

  const kept = async (kind: string, id: string): Promise<Reply> => {
    const body = await named.get(kind, checkId(id))
    return body ? { status: 200, body } : { status: 404 }
  }

  return {
    'GET /': async () => ({ status: 200, body: { format: 'zos-hub/1', pid: process.pid } }),
    'GET /metrics': async () => {
      const used = [...access.used()].map(([by, n]) => [`zos_hub_used_bytes{key="${by}"}`, n] as const)
      const gauges = { ...Object.fromEntries(used), zos_hub_body_budget_bytes: budget.left }
      return { status: 200, body: metrics.text(gauges), headers: { 'content-type': 'text/plain; version=0.0.4' } }
    },
    'GET /objects': async ({ req }) => {
      const who = without(req)
      await access.explain(who)
      const lines = async function* () {
        for await (const item of objects.list())
          if (await access.mayRead(item.id, who)) yield Buffer.from(`${JSON.stringify(item)}\n`)
      }
      return { status: 200, body: lines() }
    },
    'GET /objects/:id': ({ req, id }) => {
      const { range } = req.headers
      return objectReply(objects, id, { range, budget, find: (act) => found(without(req), id, act) })
    },
    'HEAD /objects/:id': async ({ req, id }) => ({ status: (await has(without(req), id)) ? 200 : 404 }),
    'PUT /objects/:id': ({ req, id }) =>
      withBody(req, OBJECT_LIMIT, async (stored, who) => {
        const owner = await ownerOf(req, who)
        uploading(req)
        await takeObject(objects, access, check, { id: checkId(id), stored, by: who.by, owner })
        return { status: 201 }
      }),
    'POST /objects': ({ req }) =>
      withBody(req, BATCH_BODY, async (bytes, who) => {
        const owner = await ownerOf(req, who)
        uploading(req)
        for (const { id, stored } of decodeObjects(bytes)) {
          await takeObject(objects, access, check, { id, stored, by: who.by, owner })
          // writing is synchronous: others are served in between
          await setImmediate()
        }
        return { status: 201 }
      }),
    'POST /objects/:id/touch': async ({ req, id }) => {
      uploading(req)
      const touched = await found(without(req), id, async () => (await objects.touch(id)) || undefined)
      return { status: 200, body: { done: touched === true } }
    },
    'DELETE /objects/:id': async ({ id, query }) => {
      if (!deletes) throw new ZosError('Delete object: this hub deletes nothing by request', { code: 'no-delete' })
      const before = query.get('before')
      const done = before === null ? objects.delete(checkId(id)) : objects.deleteOlder(checkId(id), Number(before))
      return { status: 200, body: { done: await done } }
    },
    'POST /missing': ({ req }) =>
      asked(req, async (ids, who) => {
        uploading(req)
        return { status: 200, body: { missing: await missing(objects, access, ids, who) } }
      }),
    'POST /batch': ({ req }) =>
      asked(req, async (ids, who) => ({ status: 200, body: batch(objects, access, ids, who) })),
    'POST /flush': async () => {
      await objects.flush()
      await access.flush()
      return { status: 204 }
    },
    'GET /specs/:id': ({ id }) => kept('specs', id),
    'PUT /specs/:id': ({ req, id }) =>
      withBody(req, SPEC_LIMIT, async (bytes, { by }) => {
        checkSpec(checkId(id), bytes)
        const undo = access.upload(by, bytes.length)
        await named.put('specs', id, bytes).catch((error) => {
          undo()
          throw error
        })
        return { status: 201 }
      }),
    'GET /traces/:id': async ({ req, id }) => ((await has(without(req), id)) ? kept('traces', id) : { status: 404 }),
    // advice, from nodes that have no key here: one for each manifest that is here, bounded, and worth nothing to forge
    'PUT /traces/:id': ({ req, id }) =>
      withBody(req, TRACE_LIMIT, async (bytes, who) => {
        if (!decodeTrace(bytes) || !(await has(who, id)))
          throw new ZosError(`Keep trace "${id}": it is none, or there is no such manifest here`, { code: 'bad-trace' })
        await named.put('traces', id, bytes, { fast: true })
        return { status: 201 }
      }),
  }
}
