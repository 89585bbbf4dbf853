import { once } from 'node:events'
import { formatEndpoint, parseEndpoint } from '#mycelium'
import { openUnix } from '#sys'
import { onlyFlags } from '../flags.ts'
import { apiPath, notRunning } from './api-path.ts'

/** Prints a line per frame until it is interrupted or the node ends. */
export async function capture(args: string[]): Promise<number> {
  const { peer } = onlyFlags('mycelium capture', args, { peer: { kind: 'value', about: 'only frames of this peer' } })
  const body = peer === undefined ? {} : { peer: formatEndpoint(parseEndpoint(peer)) }
  const socket = apiPath()
  const stream = await openUnix(socket, '/capture', body).catch((error) => {
    throw notRunning(error, socket)
  })
  process.once('SIGINT', () => stream.destroy())
  process.once('SIGTERM', () => stream.destroy())
  stream.pipe(process.stdout, { end: false })
  await once(stream, 'close')
  return 0
}
