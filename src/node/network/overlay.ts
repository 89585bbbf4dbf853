import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { Daemon, type Endpoint, serveApi } from '#mycelium'
import { confine, serveUnix } from '#sys'
import * as z from '#zod'
import { keepCards } from './cards.ts'
import { serveFar } from './far.ts'
import { CHUNKS, type Near } from './near.ts'
import { overlaySocket } from './place.ts'
import type { Shown } from './shown.ts'
import type { Far } from './ways.ts'

const matching = (pattern: RegExp) => z.string().check(z.regex(pattern))
const atMost = (length: number) => z.string().check(z.maxLength(length))
const listOf = <T extends Parameters<typeof z.array>[0]>(of: T, length: number) =>
  z.array(of).check(z.maxLength(length))
const between = (least: number, most: number) => z.int().check(z.minimum(least), z.maximum(most))
const bytes = (length: number) =>
  z.pipe(
    matching(new RegExp(`^[0-9a-f]{${length * 2}}$`)),
    z.transform((text) => new Uint8Array(Buffer.from(text, 'hex'))),
  )

const nodeSchema = z.strictObject({ secret: bytes(32) })
const name = matching(/^[0-9a-f]{64}$/)
const nodesSchema = z.strictObject({
  keys: listOf(name, 4096),
  images: listOf(z.strictObject({ digest: name, to: z.exactOptional(listOf(name, 4096)) }), 512),
})
const passesSchema = listOf(z.strictObject({ hub: atMost(200), text: atMost(8192), until: z.int() }), 64)
const label = matching(/^[a-z0-9-]{1,63}$/)
const rule = matching(/^[a-z0-9-]{1,63}\/([a-z0-9-]{1,63}|\*)$/)
const portSchema = z.strictObject({ protocol: z.enum(['tcp', 'udp']), port: between(1, 65535) })
const otherSchema = z.strictObject({
  names: listOf(matching(/^[a-z0-9-]{1,63}\.[a-z0-9-]{1,63}\.zos$/), 4),
  address: bytes(16),
})
const allowedSchema = z.strictObject({
  from: listOf(bytes(16), 4096),
  of: z.exactOptional(listOf(rule, 64)),
  people: z.boolean(),
  ports: listOf(portSchema, 64),
})
const memberSchema = z.strictObject({ names: listOf(label, 4), address: bytes(16), ipv4: between(0, 0xffff_ffff) })
const cardSchema = z.strictObject({
  secret: bytes(32),
  network: z.strictObject({
    domain: matching(/^[a-z0-9-]{1,63}\.zos$/),
    members: listOf(memberSchema, 256),
    people: listOf(bytes(16), 56),
    others: z.exactOptional(listOf(otherSchema, 1024)),
    reach: z.exactOptional(listOf(rule, 32)),
    ports: listOf(portSchema, 64),
    allow: z.exactOptional(listOf(allowedSchema, 64)),
    egress: z.exactOptional(z.boolean()),
    rate: z.exactOptional(between(1, 2 ** 28)),
  }),
})

/**
 * The overlay of a node, told what it is by the provision plane: PUT /node, its identity; PUT /nodes, the public keys of the
 * grid's other nodes and what they are given of images here; PUT /passes, what it signed for the HUBS, for the key that GET /ping names;
 * PUT /cards/NAME, a workload's.
 * Nothing is kept on disk, so all are told again whenever another process answers GET /ping.
 */
export async function serveOverlay(
  run: string,
  at: {
    listen: Endpoint[]
    peers: Endpoint[]
    api: string
    /** Whom messages are exchanged with: by the API the provision plane gives it words. Nobody else's are taken. */
    relayer: Buffer | undefined
    far: readonly Far[]
    near: Near
    hubs: readonly string[]
    shown: Shown
    log: (line: string) => void
  },
): Promise<AsyncDisposable> {
  const { listen, peers, api, relayer, far, near, hubs, shown, log } = at
  let overlay: Promise<{ daemon: Daemon; cards: ReturnType<typeof keepCards> }> | undefined
  const start = async (secret: Uint8Array) => {
    const messages = join(run, 'messages')
    // answers to who asked in an earlier life
    rmSync(messages, { recursive: true, force: true })
    const services = { [CHUNKS]: near.service(run) }
    const daemon = await Daemon.start({ secret, listen, peers, services, tell: log, ...(relayer ? { messages } : {}) })
    daemon.messages?.restrict(({ address }) => address.equals(relayer!))
    near.by((address, service) => daemon.dial(address, service))
    daemon.ended.then(
      () => process.exit(0),
      (error: unknown) => {
        // the supervisor starts this plane anew
        log(`overlay: ${error instanceof Error ? error.stack : error}`)
        process.exit(1)
      },
    )
    await serveApi(daemon, api)
    await serveFar(daemon, run, far)
    // all threads are there, and none that had more can come; programs: passt
    confine({ opens: true, keeps: ['fs', 'net', 'child'] })
    return { daemon, cards: keepCards(daemon, run, log) }
  }
  const running = async (action: string) => {
    if (overlay) return overlay
    throw new ZosError(`${action}: the node's own identity is not known yet`, { code: 'no-overlay', kind: 'node' })
  }
  const server = await serveUnix(overlaySocket(run), {
    calls: {
      'GET /ping': () => ({ pid: process.pid, ready: overlay !== undefined, hubs, hubKey: shown.key }),
      'PUT /passes': ({ body }) => shown.set(passesSchema.parse(body)),
      'PUT /node': async ({ body }) => {
        const { secret } = nodeSchema.parse(body)
        overlay ??= start(secret).catch((error: unknown) => {
          overlay = undefined
          throw error
        })
        await overlay
      },
      'PUT /cards/:name': async ({ params, body }) => {
        const { cards } = await running(`Attach "${params.name}"`)
        await cards.set(params.name!, cardSchema.parse(body))
      },
      'PUT /nodes': async ({ body }) => {
        const { keys, images } = nodesSchema.parse(body)
        const { daemon } = await running('Take the list of nodes')
        near.set(keys, images)
        await daemon.demand({ ours: keys, others: 'session' })
      },
      'GET /cards': async () => (overlay ? (await overlay).cards.list() : []),
    },
  })
  return {
    // the packet thread ends in order: of itself it would be cut off in whatever it does
    async [Symbol.asyncDispose]() {
      server.close()
      const { daemon } = (await overlay) ?? {}
      await daemon?.[Symbol.asyncDispose]()
    },
  }
}
