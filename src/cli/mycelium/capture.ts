import { once } from 'node:events'
import { formatEndpoint, type PeerStatus, parseEndpoint } from '#mycelium'
import { openUnix } from '#sys'
import { onlyFlags } from '../flags.ts'
import { apiPath, ask, notRunning } from './api-path.ts'

/** Prints a line per frame until it is interrupted or the node ends. */
export async function capture(args: string[]): Promise<number> {
  const { peer } = onlyFlags('mycelium capture', args, { peer: { kind: 'value', about: 'only frames of this peer' } })
  const wanted = peer === undefined ? undefined : formatEndpoint(parseEndpoint(peer))
  const socket = apiPath()
  const stream = await openUnix(socket, '/capture', wanted === undefined ? {} : { peer: wanted }).catch((error) => {
    throw notRunning(error, socket)
  })
  process.once('SIGINT', () => stream.destroy())
  process.once('SIGTERM', () => stream.destroy())
  stream.pipe(process.stdout, { end: false })
  const closed = once(stream, 'close')
  if (wanted !== undefined) {
    const peers = await ask<PeerStatus[]>('GET', '/peers')
    if (!peers.some(({ endpoint, state }) => endpoint === wanted && state === 'up'))
      process.stderr.write(
        `zos: No peer "${wanted}" is connected now; "zos mycelium peers" lists them. Waiting for its frames\n`,
      )
  }
  await closed
  return 0
}
