import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ZosError } from '#codec'
import { Daemon, describeIdentity, formatEndpoint, identityOf, parseEndpoint, readSecret, serveApi } from '#mycelium'
import { parseFlags } from '../flags.ts'
import { apiPath } from './api-path.ts'

/** `zos mycelium run`: a node of the overlay until SIGTERM or SIGINT. */
export async function runNode(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('mycelium run', args, {
    'key-file': { kind: 'value', about: '32 raw bytes, as "zos mycelium keygen" makes them' },
    listen: { kind: 'list', about: 'tcp://ADDRESS:PORT for peers to dial' },
    peer: { kind: 'list', about: 'tcp://ADDRESS:PORT to dial' },
    tun: { kind: 'value', about: 'make this interface for this machine; without it, relay only' },
    api: { kind: 'value', about: 'unix:PATH where other commands ask' },
    ours: { kind: 'list', about: 'PUBLICKEY of a node that speaks sessions: never anything weaker' },
    legacy: { kind: 'list', about: 'PUBLICKEY of a node that speaks the public protocol only' },
    'sessions-only': { kind: 'switch', about: 'never anything weaker to anybody but --legacy' },
    // accepted already: link-local discovery does not exist yet
    'no-discovery': { kind: 'switch', about: 'look for no peers on the local links' },
  })
  if (rest.length > 0)
    throw new ZosError(`zos mycelium run: "${rest[0]}" is not understood; peers are given with --peer`, {
      code: 'usage',
    })
  const keyFile = flags['key-file']
  if (keyFile === undefined)
    throw new ZosError('zos mycelium run: --key-file is missing; "zos mycelium keygen FILE" makes one', {
      code: 'usage',
    })
  const listen = flags.listen.map(parseEndpoint)
  const peers = flags.peer.map(parseEndpoint)
  const socket = apiPath(flags.api)
  const secret = await readSecret(keyFile)
  const others = flags['sessions-only'] ? ('session' as const) : ('either' as const)
  const sealing = { ours: flags.ours, legacy: flags.legacy, others }
  const ended = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve())
    process.once('SIGINT', () => resolve())
  })
  await mkdir(dirname(socket), { recursive: true, mode: 0o700 })
  await using daemon = await Daemon.start({
    secret,
    listen,
    peers,
    sealing,
    messages: `${keyFile}.messages`,
    ...(flags.tun ? { port: { kind: 'tun', name: flags.tun } } : {}),
  })
  const server = await serveApi(daemon, socket)
  const { address } = describeIdentity(identityOf(secret))
  const where = listen.length ? `, listening on ${listen.map(formatEndpoint).join(', ')}` : ''
  process.stdout.write(`${address}${flags.tun ? ` on ${flags.tun}` : ' (relay only: no --tun)'}${where}\n`)
  try {
    await Promise.race([ended, daemon.ended])
  } finally {
    server.close()
    server.closeAllConnections()
    await rm(socket, { force: true })
  }
  return 0
}
