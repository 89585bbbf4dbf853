import { ZosError } from '#codec'

/**
 * Holds what COMMAND is told to contact to what nodes and commands can: they would start, and reach nobody. ENDS are of the overlay's
 * peers.
 */
export async function checkPlaces(
  command: string,
  { rpc, hub, ends, relayer }: { rpc: string[]; hub: string[]; ends: string[]; relayer: string | undefined },
): Promise<void> {
  const [{ parseHttpPlace }, { parseEndpoint, parseOverlayAddress, parseServicePlace }] = await Promise.all([
    import('#cas'),
    import('#mycelium'),
  ])
  const bad = (flag: string, said: string, how: string) =>
    new ZosError(`zos ${command}: --${flag} "${said}": ${how}`, { code: 'usage' })
  for (const url of rpc) {
    const { protocol = '', hostname = '', pathname = '' } = URL.canParse(url) ? new URL(url) : {}
    const isThere = protocol === 'unix:' ? pathname.length > 1 : /^https?:$/.test(protocol) && hostname !== ''
    if (!parseServicePlace(url) && !isThere)
      throw bad('rpc', url, 'a chain is at http://HOST:PORT, https://HOST, unix:/PATH or mycelium://[ADDRESS]/chain')
  }
  for (const url of hub)
    if (!parseServicePlace(url) && !parseHttpPlace(url))
      throw bad('hub', url, 'a hub is at http://HOST:PORT or mycelium://[ADDRESS]/hub')
  for (const place of ends) parseEndpoint(place)
  if (relayer !== undefined) parseOverlayAddress(relayer)
}
