import type { ErrorKind } from '#codec'
import type { Endpoint } from '../endpoint.ts'

/** What the packet thread is started with. The secret is the raw key. */
export type ThreadOptions = { secret: Uint8Array; listen: Endpoint[]; peers: Endpoint[]; tun: string | undefined }

/** Calls of the main thread; each is answered once. */
export type ThreadCall =
  | { id: number; call: 'status' | 'peers' | 'routes' | 'stop' }
  | { id: number; call: 'probe'; address: Uint8Array; hopLimit: number; timeout: number }
  | { id: number; call: 'capture'; on: boolean; peer: string | undefined }

/** What the packet thread says. `wakeFd` is to be written 8 bytes to after each call. */
export type ThreadEvent =
  | { event: 'ready'; wakeFd: number }
  | { event: 'failed'; message: string; code: string; kind: ErrorKind; details: Record<string, unknown> }
  | { event: 'answer'; id: number; value: unknown }
  | { event: 'captured'; line: string }
