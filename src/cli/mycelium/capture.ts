import { once } from 'node:events'
import { formatEndpoint, type PeerStatus, parseEndpoint } from '#mycelium'
import { openUnix } from '#sys'
import { onlyFlags } from '../flags.ts'
import { apiPath, ask, notRunning } from './api-path.ts'

/** Prints a line per frame until it is interrupted or the node ends. */
export async function capture(args: string[]): Promise<number> {
  const { peer } = onlyFlags('mycelium capture', args, { peer: { kind: 'value', about: 'only frames of this peer' } })
  const peers = peer === undefined ? [] : await ask<PeerStatus[]>('GET', '/peers')
  const found = peers.find(({ endpoint }) => endpoint === peer)
  // those found on a link have names that nobody could dial
  const wanted = peer === undefined ? undefined : (found?.endpoint ?? formatEndpoint(parseEndpoint(peer)))
  const socket = apiPath()
  const stream = await openUnix(socket, '/capture', wanted === undefined ? {} : { peer: wanted }).catch((error) => {
    throw notRunning(error, socket)
  })
  process.once('SIGINT', () => stream.destroy())
  process.once('SIGTERM', () => stream.destroy())
  stream.pipe(process.stdout, { end: false })
  const closed = once(stream, 'close')
  if (wanted !== undefined && !peers.some(({ endpoint, state }) => endpoint === wanted && state === 'up'))
    process.stderr.write(
      `zos: No peer "${wanted}" is connected now; "zos mycelium peers" lists them. Waiting for its frames\n`,
    )
  await closed
  return 0
}
