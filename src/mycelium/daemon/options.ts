import type { Endpoint } from '../endpoint.ts'
import type { SealingPolicy } from '../session/policy.ts'
import type { Admission } from '../streams/admission.ts'
import type { Service } from '../streams/streams.ts'
import type { PrivateNetwork } from './network-key.ts'
import type { PortSpec } from './ports.ts'

export type DaemonOptions = {
  /** 32 raw bytes. */
  secret: Uint8Array
  listen: Endpoint[]
  peers: Endpoint[]
  /** What the node's own address is attached to; without one it only relays and answers no packet. */
  port?: PortSpec
  /** Whom sessions are demanded of; by default of everybody. */
  sealing?: SealingPolicy
  /** The folder in which messages are kept until somebody fetches them; without one they are refused. */
  messages?: string
  /** What other nodes may open streams to, by name. */
  services?: Readonly<Record<string, Service>>
  /** How many streams who may open; without it all alike, 128 each. */
  admission?: Admission
  /** Peers are only who knows its key, over TLS. */
  network?: PrivateNetwork
  /** Whether to look for peers on the local links, and tell them of us. */
  discovery?: boolean
  /** Takes lines for whoever runs this node: destinations not reached, another node with our key. Each once in a while. */
  tell?: ((line: string) => void) | undefined
}
