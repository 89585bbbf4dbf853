import { connect, isIPv4 } from 'node:net'
import { ZosError } from '#codec'
import {
  type Admission,
  createAdmission,
  Daemon,
  describeIdentity,
  type Endpoint,
  formatEndpoint,
  identityOf,
  type PrivateNetwork,
  parseEndpoint,
  readPrivateNetwork,
  readSecret,
  type Service,
} from '#mycelium'
import { becomeConfinable, confine } from '#sys'
import { parseFlags } from '../flags.ts'
import { apiPath } from './api-path.ts'
import { openApi } from './serve-api.ts'

async function networkOf(name: string | undefined, keyFile: string | undefined): Promise<PrivateNetwork | undefined> {
  if (name === undefined && keyFile === undefined) return undefined
  if (name === undefined || keyFile === undefined)
    throw new ZosError('zos mycelium run: --network-name and --network-key-file are given together or not at all', {
      code: 'usage',
    })
  return readPrivateNetwork(name, keyFile)
}

/** In a private network every peer is spoken to by TLS, as upstream does; elsewhere none is. */
function endpointIn(network: PrivateNetwork | undefined, text: string): Endpoint {
  const endpoint = parseEndpoint(text)
  if (!network && endpoint.scheme === 'tls')
    throw new ZosError(`Read peer "${text}": "tls" is spoken in private networks only; give --network-name too`, {
      code: 'bad-endpoint',
    })
  return network ? { ...endpoint, scheme: 'tls' } : endpoint
}

/** NAME=IP:PORT, each leading there. */
function servicesOf(said: string[]): Record<string, Service> {
  const services: Record<string, Service> = {}
  for (const text of said) {
    const [, name, host, port] = /^([a-z0-9-]{1,32})=([0-9.]+):(\d{1,5})$/.exec(text) ?? []
    if (!name || !host || !isIPv4(host) || Number(port) > 65535)
      throw new ZosError(`zos mycelium run: "${text}" does not say what to serve: it looks like "hub=127.0.0.1:8080"`, {
        code: 'usage',
      })
    services[name] = () => connect({ host, port: Number(port), allowHalfOpen: true })
  }
  return services
}

/** By who is of the grid that FILE describes. */
async function admissionOf(file: string, signal: AbortSignal): Promise<Admission> {
  // the contract's libraries: who serves no grid does without
  const { followKnown } = await import('./known.ts')
  return createAdmission(followKnown(file, (line) => process.stderr.write(`zos: ${line}\n`), signal))
}

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
    serve: { kind: 'list', about: 'NAME=IP:PORT: what other nodes may reach here over the overlay as NAME' },
    grid: {
      kind: 'value',
      about: 'FILE of the grid that is served: its nodes and people have more room than strangers',
    },
    relayer: {
      kind: 'switch',
      about: "post what --grid's nodes signed and send as messages; the key in $ZOS_RELAYER_KEY_FILE pays",
    },
    'sessions-only': { kind: 'switch', about: 'never anything weaker to anybody but --legacy' },
    'network-name': { kind: 'value', about: 'be of a private network: its name, which is public' },
    'network-key-file': { kind: 'value', about: 'the 32 raw bytes only its nodes have' },
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
  if (flags.relayer && flags.grid === undefined)
    throw new ZosError('zos mycelium run: --relayer needs --grid FILE: it posts to the chain of that grid', {
      code: 'usage',
    })
  becomeConfinable()
  // before the first byte of anybody is read
  confine({ opens: true, keeps: ['fs', 'net', 'worker'] })
  const network = await networkOf(flags['network-name'], flags['network-key-file'])
  const endpoint = (text: string) => endpointIn(network, text)
  const listen = flags.listen.map(endpoint)
  const peers = flags.peer.map(endpoint)
  const socket = apiPath(flags.api)
  const secret = await readSecret(keyFile)
  const others = flags['sessions-only'] ? ('session' as const) : ('either' as const)
  const sealing = { ours: flags.ours, legacy: flags.legacy, others }
  const stop = new AbortController()
  const admission = flags.grid === undefined ? undefined : await admissionOf(flags.grid, stop.signal)
  const ended = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve())
    process.once('SIGINT', () => resolve())
  })
  const warn = (line: string) => process.stderr.write(`zos: ${line}\n`)
  await using daemon = await Daemon.start({
    secret,
    listen,
    peers,
    sealing,
    ...(network ? { network } : {}),
    messages: `${keyFile}.messages`,
    services: servicesOf(flags.serve),
    ...(admission ? { admission } : {}),
    discovery: !flags['no-discovery'],
    tell: warn,
    ...(flags.tun === undefined ? {} : { port: { kind: 'tun', name: flags.tun } }),
  })
  if (flags.relayer) await (await import('./words.ts')).relayWords(daemon.messages!, flags.grid!, warn, stop.signal)
  // all threads are there, and none that had more can come
  confine({ opens: true, keeps: ['fs', 'net'] })
  await using _api = await openApi(daemon, socket)
  const { address } = describeIdentity(identityOf(secret))
  const where = listen.length ? `, listening on ${listen.map(formatEndpoint).join(', ')}` : ''
  process.stdout.write(`${address}${flags.tun ? ` on ${flags.tun}` : ' (relay only: no --tun)'}${where}\n`)
  try {
    await Promise.race([ended, daemon.ended])
  } finally {
    stop.abort()
  }
  return 0
}
