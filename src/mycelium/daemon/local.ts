import type { Identity } from '../identity.ts'
import type { NicNetwork } from '../nic/network.ts'
import type { PacketBuffer } from './offload.ts'
import { createRemotes, type Remotes, type RemotesOptions } from './remotes.ts'

/** What an identity is attached to: this machine's kernel by a TUN, or the NIC of a virtual machine. */
export type Port = {
  /**
   * Takes the packet at AT, the ten bytes before it being its offload header (`offload.ts`): TCP packets above the MTU
   * have a segment size there, whose checksum is the port's to finish. Valid during the call only.
   */
  write: (packet: PacketBuffer, at: number, length: number) => void
  /** The largest packet it takes. */
  largest: number
  /** True when every address of the /64 lives behind it, false when only the key's own does. */
  wholeSubnet: boolean
  /** True when it sends packets above the MTU of the public network that nobody may cut. */
  uncut: boolean
  /** Bytes of packets that its other side sent and received; of these, to and from the Internet. */
  traffic?: { sent: number; received: number; outside?: { sent: number; received: number } }
  /** For ports that may reach the Internet: takes a socket to the process that carries its frames there. */
  egress?: (fd: number) => void
  /** For ports that have something to look after; returns when to call again. Milliseconds. */
  tick?: (now: number) => number
  /** For ports that are part of a network: who is in it has changed. */
  reform?: (network: NicNetwork) => void
  close: () => void
}

/** One of the keys this node answers for. Without a port it only answers for itself. */
export type Local = { identity: Identity; remotes: Remotes; port: Port | undefined }

export const createLocal = (identity: Identity, options: RemotesOptions): Local => ({
  identity,
  remotes: createRemotes(identity, options),
  port: undefined,
})
