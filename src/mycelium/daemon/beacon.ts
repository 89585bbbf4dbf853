/** Upstream's: "mycelium" | TCP port u16 | router id[40], which begins with the public key. */
export const MAGIC = Buffer.from('mycelium')
export const BEACON = 50
export const KEY_AT = 10
/** fe80::/64 */
export const LINK_LOCAL = Buffer.from('fe80000000000000', 'hex')
/** What came to the group of beacons on a link of ours, as it came. */
export type Beacon = { bytes: Uint8Array; ip: string; zone: string; scope: number }
