import { isIP } from 'node:net'
import { ZosError } from '#codec'
import type { RestartPolicy, RunRequest } from '#wire'
import { parseBytes } from './flags.ts'

export const usage = (message: string): ZosError => new ZosError(message, { code: 'usage' })

type Volume = RunRequest['volumes'][number]
type Tmpfs = RunRequest['tmpfs'][number]

/** NAME=VALUE or NAME, as it is. */
export function checkVariable(text: string): string {
  if (text === '' || text.startsWith('=')) throw usage(`Set "${text}": write NAME=VALUE, or NAME`)
  return text
}

/** NAME:/path[:ro]; /path alone is a volume without a name. */
export function parseVolume(text: string): RunRequest['volumes'][number] {
  if (/^\/[^:]+$/.test(text)) return { source: '', target: text, readOnly: false }
  const [source = '', target = '', mode = 'rw', ...more] = text.split(':')
  if (source.startsWith('/') || source.startsWith('.')) {
    throw usage(`Mount "${text}": host folders cannot be mounted into a microVM; use a volume's name, or "zos cp"`)
  }
  if (
    !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(source) ||
    !target.startsWith('/') ||
    more.length ||
    !/^(rw|ro)$/.test(mode)
  ) {
    throw usage(`Mount "${text}": write it as NAME:/path or NAME:/path:ro`)
  }
  return { source, target, readOnly: mode === 'ro' }
}

/** [[ADDRESS:][HOST]:]GUEST[/tcp]; without an address it listens on loopback only, without a number on any free one. */
export function parsePort(text: string): RunRequest['ports'][number] {
  const found = /^(?:(?:(\[[0-9a-fA-F:]+\]|[0-9.]+):)?(\d*):)?(\d+)(?:\/tcp)?$/.exec(text)
  const [host, guest] = [Number(found?.[2] ?? 0), Number(found?.[3])]
  if (!found || host > 65535 || guest > 65535 || guest < 1)
    throw usage(`Publish port "${text}": write it as 8080:80, ADDRESS:8080:80 or 80 (TCP)`)
  return { address: (found[1] ?? '127.0.0.1').replace(/[[\]]/g, ''), host, guest }
}

export function parseRestart(text: string): RestartPolicy {
  const found = /^(no|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(text)
  if (!found || (found[2] && found[1] !== 'on-failure')) {
    throw usage(`Read restart policy "${text}": write no, on-failure[:TIMES], always or unless-stopped`)
  }
  const name = found[1] as RestartPolicy['name']
  return found[2] ? { name, max: Number(found[2]) } : { name }
}

/** /path[:OPTIONS] */
export function parseTmpfs(text: string): Tmpfs {
  const [target = '', options = ''] = text.split(/:(.*)/s)
  if (!target.startsWith('/')) throw usage(`Mount tmpfs "${text}": write it as /path or /path:size=64m`)
  return { target, options }
}

const MOUNT_WORDS: Record<string, string> = {
  type: 'type',
  source: 'source',
  src: 'source',
  target: 'target',
  dst: 'target',
  destination: 'target',
  readonly: 'readonly',
  ro: 'readonly',
  'tmpfs-size': 'size',
}

/** Docker's --mount: a volume or a tmpfs. */
export function parseMount(text: string): { volume?: Volume; tmpfs?: Tmpfs } {
  const said: Record<string, string> = {}
  for (const part of text.split(',')) {
    const [word = '', value = 'true'] = part.split(/=(.*)/s)
    const key = Object.hasOwn(MOUNT_WORDS, word) ? MOUNT_WORDS[word]! : undefined
    if (!key) throw usage(`Mount "${text}": "${part}" is not understood`)
    said[key] = value
  }
  const { type = 'volume', source = '', target = '', readonly = 'false', size } = said
  if (type === 'bind')
    throw usage(`Mount "${text}": host folders cannot be mounted into a microVM; use a volume, or "zos cp"`)
  if (type === 'tmpfs') {
    const bytes = size === undefined ? '' : `size=${parseBytes(size, 'tmpfs-size')}`
    return { tmpfs: parseTmpfs(bytes ? `${target}:${bytes}` : target) }
  }
  if (type !== 'volume' || !/^(true|false|1|0)$/.test(readonly))
    throw usage(`Mount "${text}": write type=volume or type=tmpfs`)
  if (!target.startsWith('/')) throw usage(`Mount "${text}": write target=/path, where it is to be`)
  if (source === '' && readonly === 'false') return { volume: parseVolume(target) }
  return { volume: parseVolume(`${source}:${target}:${/^(true|1)$/.test(readonly) ? 'ro' : 'rw'}`) }
}

/** getrlimit(2) */
const LIMITS =
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ')

/** NAME=SOFT[:HARD] */
export function parseUlimit(text: string): NonNullable<RunRequest['ulimits']>[number] {
  const [, name = '', soft, hard = soft] = /^([a-z]+)=(-1|\d{1,15})(?::(-1|\d{1,15}))?$/.exec(text) ?? []
  const [low, high] = [Number(soft), Number(hard)]
  if (!LIMITS.includes(name) || (high !== -1 && (low === -1 || low > high)))
    throw usage(`Limit "${text}": write NAME=SOFT or NAME=SOFT:HARD, NAME one of ${LIMITS.join(', ')}`)
  return { name, soft: low, hard: high }
}

/** NAME:ADDRESS, or with "=" between them. */
export function parseHost(text: string): NonNullable<RunRequest['hosts']>[number] {
  const [, name = '', address = ''] = /^([A-Za-z0-9_.-]{1,253})[:=]\[?([0-9a-fA-F.:]+)\]?$/.exec(text) ?? []
  if (isIP(address) === 0) throw usage(`Add host "${text}": write NAME:ADDRESS`)
  return { name, address }
}
