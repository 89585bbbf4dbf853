import { writeSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import type { Duplex } from 'node:stream'
import type { Worker } from 'node:worker_threads'
import { ZosError } from '#codec'
import { trimMemory } from '#sys'
import type { Endpoint } from '../endpoint.ts'
import { type Identity, identityOf } from '../identity.ts'
import type { Messages } from '../messages/messages.ts'
import type { NicNetwork } from '../nic/network.ts'
import type { SealingPolicy } from '../session/policy.ts'
import { openStreams, type Streams } from '../streams/streams.ts'
import { MESSAGE, STREAM } from '../wire/seal.ts'
import { createCaptures } from './captures.ts'
import type { Discovery } from './discovery.ts'
import { closeAgain, openCard, openFor } from './opening.ts'
import type { DaemonOptions } from './options.ts'
import type { PeerStatus } from './peers.ts'
import type { AskedCard, PortSpec } from './ports.ts'
import { withBuffers } from './posted.ts'
import type { ProbeResult } from './probe.ts'
import type { Failure, Secured, Securing, ThreadCall, ThreadEvent, ThreadOptions } from './protocol.ts'
import type { RouteStatus } from './route-status.ts'
import { startThread, startTls } from './start-thread.ts'

type CallBody = ThreadCall extends infer C ? (C extends ThreadCall ? Omit<C, 'id'> : never) : never

const errorOf = ({ message, code, kind, details }: Failure) => new ZosError(message, { code, kind, details })

const hasEnded = () => new ZosError('Ask the overlay node: it has ended', { code: 'ended', kind: 'node' })

const ONE = Buffer.from(new BigUint64Array([1n]).buffer)

/** What lives on this side of the packet thread. */
type Parts = {
  messages: Messages | undefined
  streams: Streams
  untold: Int32Array
  tls: Worker | undefined
  tell: DaemonOptions['tell']
}

/** Milliseconds after the last attach until both threads give memory back. */
const TIDY_AFTER = 1_000

// what few nodes need is loaded where it is needed
const openIn = async (dir: string, identity: Identity, send: (to: Buffer, payloads: Buffer[]) => void) =>
  (await import('../messages/messages.ts')).openMessages({ dir, identity, send })

/** A running overlay node. Packets live on a thread of their own; this is the other threads' handle to it. */
export class Daemon implements AsyncDisposable {
  readonly #worker: Worker
  readonly #wakeFd: number
  readonly #waiting = new Map<number, { done: (value: unknown) => void; failed: (error: unknown) => void }>()
  /** What it sends and receives as messages, when it was given a folder for them. */
  readonly messages: Messages | undefined
  #discovery: Discovery | undefined
  /** In a private network. */
  readonly #tls: Worker | undefined
  readonly #streams: Streams
  readonly #captures = createCaptures((on, peer) => this.#call({ call: 'capture', on, peer }))
  #nextId = 1
  #tidy: NodeJS.Timeout | undefined
  #ended = false
  /** Resolves when the thread has ended, rejects when it died of an error. */
  readonly ended: Promise<void>

  private constructor(worker: Worker, wakeFd: number, { messages, streams, untold, tls, tell }: Parts) {
    this.#worker = worker
    this.messages = messages
    this.#streams = streams
    this.#wakeFd = wakeFd
    this.#tls = tls
    worker.on('message', (event: ThreadEvent) => {
      if (event.event === 'noted') tell?.(event.line)
      if (event.event === 'captured') this.#captures.frame(event.peer, event.line)
      if (event.event === 'told') {
        Atomics.sub(untold, 0, 1)
        const { told, publicKey } = event
        const from = { address: Buffer.from(event.from), publicKey }
        if (told.type === STREAM) streams.receive(from, withBuffers(told.piece))
        else void messages?.receive(from, withBuffers(told.piece))
      }
      if (event.event === 'secure') this.#secure(event)
      if (event.event === 'open') this.#open(event.opening, event.card)
      if (event.event !== 'answer' && event.event !== 'refused') return
      const waiting = this.#waiting.get(event.id)
      this.#waiting.delete(event.id)
      if (event.event === 'answer') waiting?.done(event.value)
      else waiting?.failed(errorOf(event))
    })
    tls?.on('message', ({ connection, failure }: Secured) => {
      // a thread that has ended asks no longer
      this.#call({ call: 'secured', connection, failure }).catch(() => {})
    })
    this.ended = new Promise((resolve, reject) => {
      worker.once('error', reject)
      worker.on('message', (event: ThreadEvent) => {
        if (event.event !== 'failed') return
        this.#ended = true
        reject(errorOf(event))
      })
      worker.once('exit', () => {
        this.#ended = true
        for (const { failed } of this.#waiting.values()) failed(hasEnded())
        this.#waiting.clear()
        resolve()
      })
    })
    this.ended.catch(() => {})
  }

  /** Starts a node; throws what keeps it from starting (port taken, no right to make a TUN). */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { secret, listen, peers, port, sealing = { others: 'session' }, messages: dir, network } = options
    const identity = identityOf(secret)
    const untold = new Int32Array(new SharedArrayBuffer(4))
    const wanted = dir === undefined ? [STREAM] : [STREAM, MESSAGE]
    const isPrivate = network !== undefined
    let daemon: Daemon | undefined
    // what is lost before the thread is up, or after its end, is said again by messages and streams themselves
    const send = (type: number) => (to: Buffer, payloads: Buffer[]) => {
      if (daemon) daemon.#say(to, type, payloads)
    }
    const messages = dir === undefined ? undefined : await openIn(dir, identity, send(MESSAGE))
    const streams = openStreams(identity, options.services ?? {}, send(STREAM), options.admission)
    const opened = port && openFor(secret, port)
    // started now: whoever runs this node may confine its thread next, and could start none any more
    const tls = network && startTls(network)
    tls?.unref()
    const parts = { messages, streams, untold, tls, tell: options.tell }
    const workerData: ThreadOptions = { secret, listen, peers, port: opened, sealing, isPrivate, wanted, untold }
    const worker = startThread(workerData)
    const started = await new Promise<Daemon>((resolve, reject) => {
      worker.once('error', reject)
      worker.once('message', (event: ThreadEvent) => {
        if (event.event === 'ready') resolve(new Daemon(worker, event.wakeFd, parts))
        else if (event.event === 'failed') reject(errorOf(event))
      })
    }).catch((error: unknown) => {
      closeAgain(opened)
      void tls?.terminate()
      throw error
    })
    daemon = started
    if (options.discovery) await started.#discover(options)
    started.#tidySoon()
    return started
  }

  /** Gives memory back once nothing was attached for a while: half of it was only needed to load, compile, warm up and attach. */
  #tidySoon(): void {
    clearTimeout(this.#tidy)
    this.#tidy = setTimeout(async () => {
      // written now and not at exit, which kill -9 would skip: the next process then loads no TypeScript parser (tens of MB)
      flushCompileCache()
      await this.#call({ call: 'tidy' }).catch(() => {})
      trimMemory()
    }, TIDY_AFTER).unref()
  }

  #call<T>(call: CallBody): Promise<T> {
    if (this.#ended) return Promise.reject(hasEnded())
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { done: resolve as (value: unknown) => void, failed: reject })
      this.#worker.postMessage({ ...call, id })
      writeSync(this.#wakeFd, ONE)
    })
  }

  #say(to: Uint8Array, type: number, payloads: Uint8Array[]): void {
    if (this.#ended) return
    this.#worker.postMessage({ id: 0, call: 'say', to, type, payloads } satisfies ThreadCall)
    writeSync(this.#wakeFd, ONE)
  }

  /** Bytes to and from what the node at ADDRESS offers as SERVICE; an error says when there is none. */
  dial(address: Uint8Array, service: string): Duplex {
    return this.#streams.dial(address, service)
  }

  async #discover({ secret, listen }: DaemonOptions): Promise<void> {
    const { startDiscovery } = await import('./discovery.ts')
    this.#discovery = startDiscovery({
      publicKey: identityOf(secret).publicKey,
      // a link-local address can be dialled there only
      port: listen.find(({ ip }) => ip === '::')?.port,
      // once the thread has ended, nobody looks at beacons
      heard: (beacon) => this.#call<void>({ call: 'beacon', beacon }).catch(() => {}),
    })
  }

  #open(opening: number, asked: AskedCard): void {
    const card = openCard(asked)
    this.#call({ call: 'opened', opening, card }).catch(() => closeAgain(card))
  }

  #secure({ connection, fd, plainFd, client }: Securing): void {
    this.#tls?.postMessage({ connection, fd, plainFd, client } satisfies Securing)
  }

  async status(): Promise<Record<string, unknown>> {
    const status = await this.#call<Record<string, unknown>>({ call: 'status' })
    const discovery = this.#discovery?.status() ?? []
    return { ...status, messages: this.messages?.counters ?? {}, streams: this.#streams.status(), discovery }
  }

  peers(): Promise<PeerStatus[]> {
    return this.#call({ call: 'peers' })
  }

  routes(): Promise<RouteStatus[]> {
    return this.#call({ call: 'routes' })
  }

  /** Subnets that a route is being sought to, and for how many seconds more. */
  queried(): Promise<{ subnet: string; expiresIn: number }[]> {
    return this.#call({ call: 'queried' })
  }

  /** Dials ENDPOINT from now on; false when it is dialled already. */
  addPeer(endpoint: Endpoint): Promise<boolean> {
    return this.#call({ call: 'addPeer', endpoint })
  }

  /** Ends the connection to the peer NAME (as `peers` has it) and dials it no more; false when there is none. */
  removePeer(name: string): Promise<boolean> {
    return this.#call({ call: 'removePeer', name })
  }

  /**
   * Answers for one more identity from now on: its /64 is announced and its packets go to and come from the port.
   * Throws when the identity is here already or the port cannot be opened; nothing of it stays then.
   */
  async attach({ secret, port }: { secret: Uint8Array; port: PortSpec }): Promise<void> {
    const opened = openFor(secret, port)
    this.#tidySoon()
    try {
      await this.#call({ call: 'attach', attachment: { secret, port: opened } })
    } catch (error) {
      closeAgain(opened)
      throw error
    }
  }

  /** Demands sessions of others by POLICY from now on. */
  demand(policy: SealingPolicy): Promise<void> {
    return this.#call({ call: 'demand', policy })
  }

  /** Retracts the identity with this PUBLICKEY (hex) and closes its port; false when there is none. */
  detach(publicKey: string): Promise<boolean> {
    return this.#call({ call: 'detach', publicKey })
  }

  /** The network that the port of PUBLICKEY (hex) is part of is NETWORK from now on; false when there is none. */
  reform(publicKey: string, network: NicNetwork): Promise<boolean> {
    return this.#call({ call: 'reform', publicKey, network })
  }

  /** Gives the identity with this PUBLICKEY (hex) a socket to what carries its frames to the Internet; false when it may not. */
  egress(publicKey: string, fd: number): Promise<boolean> {
    return this.#call({ call: 'egress', publicKey, fd })
  }

  /** One echo request with a hop limit; TIMEOUT in milliseconds. */
  probe(address: Uint8Array, hopLimit: number, timeout: number): Promise<ProbeResult> {
    return this.#call({ call: 'probe', address, hopLimit, timeout })
  }

  /** Hands each frame (of PEER only, when given) as a line to TAKE until the returned function is called. */
  capture(peer: string | undefined, take: (line: string) => void): Promise<() => Promise<void>> {
    return this.#captures.add(peer, take)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#tidy)
    this.#streams.close()
    await this.messages?.[Symbol.asyncDispose]()
    await this.#discovery?.[Symbol.asyncDispose]()
    if (!this.#ended) {
      const stopped = this.#call({ call: 'stop' })
      // the thread closes the descriptor that wakes it before it answers: no call may be made from here on
      this.#ended = true
      await stopped
    }
    // whoever awaits `ended` hears why it failed; here it only has to be over
    await this.ended.catch(() => {})
    await this.#tls?.terminate()
  }
}
