/** Another workload of the same private network. */
export type NicMember = {
  /** Names it answers to, each a label in front of the network's domain; several members may share one. */
  names: string[]
  address: Uint8Array
  /** In the network's private IPv4 range, as a number; absent: it has none. */
  ipv4?: number
}

export type NicPort = { protocol: 'tcp' | 'udp'; port: number }

/** What the card of one workload may reach and be reached by: all of it from the approved spec. */
export type NicNetwork = {
  /** `shop.zos`: what the members' names end in. */
  domain: string
  /** The workload itself among them. */
  members: NicMember[]
  /** Addresses of people, who may open connections as members may, and to whom no workload may. */
  people?: Uint8Array[]
  /** Workloads of other networks, under their whole names: it may open connections to them, they not to it. */
  others?: { names: string[]; address: Uint8Array }[]
  /** What those were named by, `DEPLOYMENT/WORKLOAD` or `DEPLOYMENT/*`: who comes later joins by it. */
  reach?: string[]
  /** Where members and people may open connections to; nobody else may to any. */
  ports: NicPort[]
  /** Said otherwise: who may open connections to which port, and nobody else. */
  allow?: { from: Uint8Array[]; of?: string[]; people: boolean; ports: NicPort[] }[]
  /** Whether it may reach the Internet, over IPv4 and through this node. */
  egress?: boolean
  /** Kilobits per second it may send; absent: what there is. */
  rate?: number
}

/** Where a card's frames come and go, and what it is part of. */
export type NicSpec = { kind: 'nic'; path: string; network: NicNetwork }

/** Every network's private IPv4 range, a /24 as networks never meet: the node's end of the link, then slot 0, 1, … */
export const IPV4_GATEWAY = 0x0a90_0001
export const ipv4OfSlot = (slot: number): number => IPV4_GATEWAY + 1 + slot

export const formatIpv4 = (ipv4: number): string => [24, 16, 8, 0].map((shift) => (ipv4 >>> shift) & 0xff).join('.')

/** The node's end of the link of the card at ADDRESS: `PREFIX::1`, where names are asked for. */
export function gatewayOf(address: Uint8Array): Buffer {
  const gateway = Buffer.alloc(16)
  gateway.set(address.subarray(0, 8))
  gateway[15] = 1
  return gateway
}

/** How long a packet on a card may be, by what the card is: the machine is told the same at its start (`vm/args.ts`). */
export const LINK_MTU = { tap: 65_000, socket: 30_000 }
