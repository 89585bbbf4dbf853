import { ZosError } from '#codec'
import type { Routes } from '#sys'
import * as z from '#zod'
import { bindingOf } from './export.ts'
import type { StoragePlane } from './plane.ts'
import { collectGarbage, collectHub, recompressStore, scrubStore, storeStat } from './upkeep.ts'

const Put = z.object({
  socket: z.string().check(z.minLength(1), z.maxLength(107)),
  uid: z.optional(z.int()),
  gid: z.optional(z.int()),
})
const Bind = z.object({ digest: z.string() })
const Check = z.object({
  argv: z.array(z.string()),
  env: z._default(z.array(z.string()), []),
  cwd: z._default(z.string(), '/'),
})
/** KEEP: digests of manifests that something unknown to this process needs, such as stopped workloads. */
const Gc = z.object({
  grace: z.optional(z.number().check(z.minimum(0))),
  keep: z._default(z.array(z.string().check(z.regex(/^[0-9a-f]{64}$/))), []),
  hub: z._default(z.boolean(), false),
  untagged: z._default(z.boolean(), false),
})

function parse<T>(schema: z.ZodMiniType<T>, body: unknown): T {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new ZosError(`Read request: ${z.prettifyError(parsed.error).replace(/\s+/g, ' ')}`, { code: 'bad-request' })
}

/** The storage plane's calls. All may be repeated: the daemon posts everything again when either of the two restarts. */
export function routes(plane: StoragePlane): Routes {
  const { library, cache, images, exports } = plane
  const digests = () => [...exports.values()].map((e) => e.stat().digest as string).filter((d) => d !== '')
  return {
    calls: {
      'GET /status': () => ({
        pid: process.pid,
        exports: exports.size,
        memory: process.memoryUsage.rss(),
        cache: cache.stat(),
        images: images.stat(),
        ...library.store.counters,
      }),
      'GET /images/:digest': async ({ params }) => bindingOf(await images.get(params.digest!)),
      'GET /exports': () => Object.fromEntries([...exports].map(([id, e]) => [id, e.stat()])),
      'PUT /exports/:id': ({ params, body }) => {
        const { socket, uid, gid } = parse(Put, body)
        const owner = uid === undefined ? {} : gid === undefined ? { uid } : { uid, gid }
        return plane.put(params.id!, { socket, ...owner })
      },
      'GET /exports/:id': ({ params }) => plane.find(params.id!).stat(),
      'DELETE /exports/:id': ({ params }) => plane.remove(params.id!),
      'POST /exports/:id/bind': ({ params, body }) => plane.find(params.id!).bind(parse(Bind, body).digest),
      'POST /exports/:id/check': ({ params, body }) => {
        const asked = (body as { argv?: unknown } | undefined)?.argv === undefined ? undefined : parse(Check, body)
        return plane.find(params.id!).check(asked)
      },
      'POST /exports/:id/ready': ({ params }) => plane.find(params.id!).ready(),
      'POST /gc': ({ body }) => {
        const { grace, keep, hub, untagged } = parse(Gc, body ?? {})
        const inUse = [...digests(), ...keep]
        return hub ? collectHub(library, inUse, { grace, untagged }) : collectGarbage(library, inUse, grace)
      },
      'POST /scrub': () => scrubStore(library),
      'POST /recompress': () => recompressStore(library),
      'GET /stat': () => storeStat(library),
    },
  }
}
