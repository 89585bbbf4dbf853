export {
  addressOf,
  formatAddress,
  formatSubnet,
  isOverlay,
  parseOverlayAddress,
  type Subnet,
  subnetOf,
} from './address.ts'
export { serveApi } from './api.ts'
export { Daemon } from './daemon/daemon.ts'
export { type PrivateNetwork, readPrivateNetwork } from './daemon/network-key.ts'
export type { DaemonOptions } from './daemon/options.ts'
export type { PeerState, PeerStatus } from './daemon/peers.ts'
export type { PortSpec } from './daemon/ports.ts'
export type { ProbeResult } from './daemon/probe.ts'
export type { RouteStatus, UnreachedStatus } from './daemon/route-status.ts'
export { type Endpoint, formatEndpoint, parseEndpoint } from './endpoint.ts'
export { createKeyFile, describeIdentity, type Identity, identityOf, readKeyFile, readSecret } from './identity.ts'
export type { MessageInfo } from './messages/api.ts'
export { MAX_MESSAGE } from './messages/inbox.ts'
export type { Message, Messages } from './messages/messages.ts'
export type { OutgoingStatus } from './messages/outbox.ts'
export { prometheus } from './metrics.ts'
export {
  formatIpv4,
  gatewayOf,
  ipv4OfSlot,
  LINK_MTU,
  type NicMember,
  type NicNetwork,
  type NicPort,
  type NicSpec,
} from './nic/network.ts'
export type { SealingPolicy } from './session/policy.ts'
export { type Admission, createAdmission, type Rank, SHARES, type Share } from './streams/admission.ts'
export {
  formatServicePlace,
  parseServicePlace,
  type ServicePlace,
} from './streams/place.ts'
export type { Service } from './streams/streams.ts'
