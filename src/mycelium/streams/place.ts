import { ZosError } from '#codec'
import { formatAddress, parseOverlayAddress } from '../address.ts'

/** What a node of the overlay offers to others: `mycelium://[ADDRESS]/SERVICE`. */
export type ServicePlace = { address: Buffer; service: string }

const SCHEME = 'mycelium:'

/** Undefined when TEXT is of another kind; throws a ZosError when it is one of these and wrong. */
export function parseServicePlace(text: string): ServicePlace | undefined {
  if (!text.startsWith(SCHEME)) return undefined
  const [, address, service] = /^mycelium:\/\/\[([0-9a-f:]+)\]\/([a-z0-9-]{1,32})$/.exec(text) ?? []
  if (!address || !service)
    throw new ZosError(`Read service "${text}": it looks like "mycelium://[ADDRESS]/hub"`, { code: 'bad-service' })
  return { address: parseOverlayAddress(address), service }
}

export const formatServicePlace = ({ address, service }: ServicePlace): string =>
  `${SCHEME}//[${formatAddress(address)}]/${service}`
