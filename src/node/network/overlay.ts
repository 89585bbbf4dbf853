import { rmSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { Daemon, type Endpoint, serveApi } from '#mycelium'
import { z } from '#npm'
import { serveUnix } from '#sys'
import { keepCards } from './cards.ts'
import { serveFar } from './far.ts'
import { CHUNKS, type Near } from './near.ts'
import { overlaySocket } from './place.ts'
import type { Shown } from './shown.ts'
import type { Far } from './ways.ts'

const bytes = (length: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-f]{${length * 2}}$`))
    .transform((text) => new Uint8Array(Buffer.from(text, 'hex')))

const nodeSchema = z.strictObject({ secret: bytes(32) })
const name = z.string().regex(/^[0-9a-f]{64}$/)
const nodesSchema = z.strictObject({
  keys: z.array(name).max(4096),
  images: z.array(z.strictObject({ digest: name, to: z.array(name).max(4096).exactOptional() })).max(512),
})
const passesSchema = z
  .array(z.strictObject({ hub: z.string().max(200), text: z.string().max(8192), until: z.int() }))
  .max(64)
const label = z.string().regex(/^[a-z0-9-]{1,63}$/)
const rule = z.string().regex(/^[a-z0-9-]{1,63}\/([a-z0-9-]{1,63}|\*)$/)
const portSchema = z.strictObject({ protocol: z.enum(['tcp', 'udp']), port: z.int().min(1).max(65535) })
const cardSchema = z.strictObject({
  secret: bytes(32),
  network: z.strictObject({
    domain: z.string().regex(/^[a-z0-9-]{1,63}\.zos$/),
    members: z
      .array(
        z.strictObject({ names: z.array(label).max(4), address: bytes(16), ipv4: z.int().min(0).max(0xffff_ffff) }),
      )
      .max(256),
    people: z.array(bytes(16)).max(56),
    others: z
      .array(
        z.strictObject({
          names: z.array(z.string().regex(/^[a-z0-9-]{1,63}\.[a-z0-9-]{1,63}\.zos$/)).max(4),
          address: bytes(16),
        }),
      )
      .max(1024)
      .exactOptional(),
    reach: z.array(rule).max(32).exactOptional(),
    ports: z.array(portSchema).max(64),
    allow: z
      .array(
        z.strictObject({
          from: z.array(bytes(16)).max(4096),
          of: z.array(rule).max(64).exactOptional(),
          people: z.boolean(),
          ports: z.array(portSchema).max(64),
        }),
      )
      .max(64)
      .exactOptional(),
    egress: z.boolean().exactOptional(),
    rate: z
      .int()
      .min(1)
      .max(2 ** 28)
      .exactOptional(),
  }),
})

/**
 * The overlay of a node, told what it is by the provision plane: PUT /node, its identity; PUT /nodes, the public keys of
 * the grid's other nodes and what they are given of images here; PUT /passes, what it signed for the HUBS, for the key that GET /ping names; PUT /cards/NAME, a workload's.
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
): Promise<Server> {
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
    return { daemon, cards: keepCards(daemon, run, log) }
  }
  const running = async (action: string) => {
    if (overlay) return overlay
    throw new ZosError(`${action}: the node's own identity is not known yet`, { code: 'no-overlay', kind: 'node' })
  }
  return serveUnix(overlaySocket(run), {
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
}
