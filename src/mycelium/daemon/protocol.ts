import type { ErrorKind } from '#codec'
import type { Endpoint } from '../endpoint.ts'
import type { NicNetwork } from '../nic/network.ts'
import type { SealingPolicy } from '../session/policy.ts'
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
  | { id: number; call: 'found'; endpoint: Endpoint; delay: number }
  | { id: number; call: 'opened'; opening: number; card: OpenedCard }
  | { id: number; call: 'secured'; connection: number; failure: string | undefined }
  | { id: number; call: 'say'; to: Uint8Array; type: number; payloads: Uint8Array[] }

/** A ZosError on its way between threads. */
export type Failure = { message: string; code: string; kind: ErrorKind; details: Record<string, unknown> }

/** A TCP connection to be made secure, and the unix socket on which its bytes are wanted in plain. */
export type Securing = { connection: number; fd: number; plainFd: number; client: boolean }

/** What the packet thread says. `wakeFd` is to be written 8 bytes to after each call. */
export type ThreadEvent =
  | { event: 'ready'; wakeFd: number }
  | ({ event: 'failed' } & Failure)
  | { event: 'answer'; id: number; value: unknown }
  | ({ event: 'refused'; id: number } & Failure)
  | { event: 'captured'; line: string }
  /** It answers by `opened`; what is open is the packet thread's. */
  | { event: 'open'; opening: number; card: AskedCard }
  /** Both descriptors are the main thread's now; it answers by `secured`. */
  | ({ event: 'secure' } & Securing)
  /** A body for this node, of type MESSAGE or STREAM. */
  | { event: 'message'; type: number; from: Uint8Array; publicKey: string; payload: Uint8Array }
