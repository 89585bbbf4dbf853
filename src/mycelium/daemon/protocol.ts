import type { ErrorKind } from '#codec'
import type { Endpoint } from '../endpoint.ts'
import type { Piece } from '../messages/wire.ts'
import type { NicNetwork } from '../nic/network.ts'
import type { SealingPolicy } from '../session/policy.ts'
import type { Heard } from '../streams/wire.ts'
import type { MESSAGE, STREAM } from '../wire/seal.ts'
import type { Beacon } from './beacon.ts'
import type { AskedCard, OpenedCard, OpenPort } from './ports.ts'

/** An identity (a raw key) and what its packets come from and go to. */
export type Attachment = { secret: Uint8Array; port: OpenPort }

/** What the packet thread is started with. The secret is the node's own raw key. */
export type ThreadOptions = {
  secret: Uint8Array
  listen: Endpoint[]
  peers: Endpoint[]
  port: OpenPort | undefined
  sealing: SealingPolicy
  /** Whether peers are of a private network: each connection is handed out to be made secure. */
  isPrivate: boolean
  /** Types of bodies for the main thread; others are refused. */
  wanted: number[]
  /** One number: those told and not yet looked at. */
  untold: Int32Array
}

/** Calls of the main thread; each is answered or refused once, but "say". */
export type ThreadCall =
  | { id: number; call: 'status' | 'peers' | 'routes' | 'queried' | 'tidy' | 'stop' }
  | { id: number; call: 'addPeer'; endpoint: Endpoint }
  | { id: number; call: 'removePeer'; name: string }
  | { id: number; call: 'probe'; address: Uint8Array; hopLimit: number; timeout: number }
  | { id: number; call: 'capture'; on: boolean; peer: string | undefined }
  | { id: number; call: 'attach'; attachment: Attachment }
  | { id: number; call: 'demand'; policy: SealingPolicy }
  | { id: number; call: 'detach'; publicKey: string }
  | { id: number; call: 'reform'; publicKey: string; network: NicNetwork }
  | { id: number; call: 'egress'; publicKey: string; fd: number }
  | { id: number; call: 'beacon'; beacon: Beacon }
  | { id: number; call: 'opened'; opening: number; card: OpenedCard }
  | ({ id: number; call: 'secured' } & Secured)
  | { id: number; call: 'say'; to: Uint8Array; type: number; payloads: Uint8Array[] }

/** What a body for this node itself said, taken apart on the packet thread. */
export type Told = { type: typeof STREAM; piece: Heard } | { type: typeof MESSAGE; piece: Piece }

/** A ZosError on its way between threads. */
export type Failure = { message: string; code: string; kind: ErrorKind; details: Record<string, unknown> }

/** A TCP connection to be made secure, and the unix socket on which its bytes are wanted in plain. */
export type Securing = { connection: number; fd: number; plainFd: number; client: boolean }

/** What became of it; without a FAILURE it stands. */
export type Secured = { connection: number; failure: string | undefined }

/** What the packet thread says. `wakeFd` is to be written 8 bytes to after each call. */
export type ThreadEvent =
  | { event: 'ready'; wakeFd: number }
  | ({ event: 'failed' } & Failure)
  | { event: 'answer'; id: number; value: unknown }
  | ({ event: 'refused'; id: number } & Failure)
  | { event: 'captured'; peer: string; line: string }
  /** For whoever runs this node. */
  | { event: 'noted'; line: string }
  /** It answers by `opened`; what is open is the packet thread's. */
  | { event: 'open'; opening: number; card: AskedCard }
  /** Both descriptors are another thread's now; it is answered by `secured`. */
  | ({ event: 'secure' } & Securing)
  /** Buffers in it come as plain bytes. */
  | { event: 'told'; from: Uint8Array; publicKey: string; told: Told }
