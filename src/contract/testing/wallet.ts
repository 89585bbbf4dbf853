/** A wallet that answers yes (EIP-1271) to what was stored in it; assembled by hand, 54 bytes. */
export const WALLET =
  '0x6036600c60003960366000f360003560e01c631626ba7e1460175760243560043555005b6004355415603057631626ba7e60e01b60005260206000f35b60006000fd'

/** The call that makes it say yes to DIGEST, or no again. */
export const sayOf = (digest: `0x${string}`, yes: boolean): `0x${string}` =>
  `0x00000000${digest.slice(2)}${(yes ? '1' : '0').padStart(64, '0')}`
