import { reasonOf } from '#codec'
import type { RunRequest } from '#wire'
import { DETACH_FLAG, DETACH_KEYS, parseKeys } from './detach-keys.ts'
import { parseBytes, parseFlags } from './flags.ts'
import { HEALTH_FLAGS, healthOf } from './request-health.ts'
import {
  checkVariable,
  parseHost,
  parseMount,
  parsePort,
  parseRestart,
  parseTmpfs,
  parseUlimit,
  parseVolume,
  usage,
} from './request-values.ts'

const FLAGS = {
  detach: { kind: 'switch', short: 'd', about: 'print its id and leave it running' },
  interactive: { kind: 'switch', short: 'i', about: 'pass standard input on' },
  tty: { kind: 'switch', short: 't', about: 'give it a terminal' },
  'detach-keys': DETACH_FLAG,
  rm: { kind: 'switch', about: 'remove it when it ends' },
  name: { kind: 'value', about: 'call it this' },
  entrypoint: { kind: 'value', about: "run this instead of the image's entry point" },
  env: { kind: 'list', short: 'e', about: 'NAME=VALUE for the program; NAME alone takes the value from here' },
  'env-file': { kind: 'list', about: 'read such lines from a file' },
  volume: {
    kind: 'list',
    short: 'v',
    about: 'NAME:/path[:ro], a volume that outlives the workload; /path, one of its own',
  },
  workdir: { kind: 'value', short: 'w', about: 'start in this folder' },
  user: { kind: 'value', short: 'u', about: 'USER[:GROUP] by name or number' },
  publish: { kind: 'list', short: 'p', about: '[[ADDRESS:]PORT:]GUESTPORT, on loopback unless an address is named' },
  'publish-all': { kind: 'switch', short: 'P', about: 'give each port the image exposes a free one here' },
  label: { kind: 'list', short: 'l', about: 'NAME=VALUE, to find it by' },
  memory: { kind: 'value', short: 'm', about: 'all it may use, as 64m or 1g' },
  cpus: { kind: 'value', about: 'processors it may use, as 0.5 or 2' },
  restart: { kind: 'value', about: 'no, on-failure[:TIMES], always or unless-stopped' },
  mount: {
    kind: 'list',
    about: 'type=volume,source=NAME,target=/path[,readonly] or type=tmpfs,target=/path[,tmpfs-size=64m]',
  },
  ulimit: { kind: 'list', about: 'NAME=SOFT[:HARD], as nofile=1024:4096; -1 is unlimited' },
  'group-add': { kind: 'list', about: 'a further group of the user, by name or number' },
  'pids-limit': { kind: 'value', about: 'processes it may have; -1 is unlimited' },
  'add-host': { kind: 'list', about: 'NAME:ADDRESS, a line of its /etc/hosts' },
  network: { kind: 'value', about: 'none: there is no other; reach it by -p, or run it on a grid' },
  init: { kind: 'switch', about: 'put a small init in front of the program' },
  'read-only': { kind: 'switch', about: 'nothing of the image can be changed, nothing written can execute' },
  tmpfs: { kind: 'list', about: '/path[:size=64m], a folder in memory' },
  hostname: { kind: 'value', short: 'h', about: 'its host name' },
  'stop-signal': { kind: 'value', about: 'what "zos stop" sends first' },
  'stop-timeout': { kind: 'value', about: 'seconds before KILL follows' },
  as: { kind: 'value', about: 'the key of a member, for an image of a grid: grid:DEPLOYMENT/WORKLOAD' },
  group: { kind: 'value', about: 'the group whose deployment that is, by name or id' },
  ...HEALTH_FLAGS,
} as const

/** "A=1" as it is; "A" takes this process's value, and is left out when there is none, as with Docker. */
function envOf(entries: readonly string[], files: readonly string[]): string[] {
  const lines = files.flatMap((file) => {
    try {
      // imported as a module it loads its promises, watchers and a reader of lines
      return process.getBuiltinModule('node:fs').readFileSync(file, 'utf8').split(/\r?\n/)
    } catch (cause) {
      throw usage(`Read --env-file "${file}": ${reasonOf(cause)}`)
    }
  })
  const listed = lines.map((l) => l.trimStart()).filter((l) => l !== '' && !l.startsWith('#'))
  const spaced = listed.find((l) => /\s/.test(l.split('=')[0]!))
  if (spaced !== undefined)
    throw usage(`Read --env-file: "${spaced.split('=')[0]}" has a space, and is no variable's name`)
  return [...listed, ...entries].flatMap((entry) => {
    if (checkVariable(entry).includes('=')) return [entry]
    const value = process.env[entry]
    return value === undefined ? [] : [`${entry}=${value}`]
  })
}

function positive(text: string | undefined, what: string): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0 || text.trim() === '')
    throw usage(`Read ${what} "${text}": not a number from 0 on`)
  return value
}

/** hostname(7), and what the kernel takes (__NEW_UTS_LEN): it also goes into /etc/hosts. */
function hostname(text: string): string {
  if (/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?$/.test(text)) return text
  throw usage(`Call the host "${text}": letters, digits, "-", "_" and "." are allowed, at most 64`)
}

const listed = <T>(values: T[]): T[] | undefined => (values.length > 0 ? values : undefined)

/** Who asks a grid for an image that is not here yet. */
export type Member = { as: string | undefined; group: string | undefined }

export type Asked = { request: RunRequest; member: Member; detachKeys: Buffer }

/** The flags and words of `zos run` or `zos create` as a request. */
export function runRequest(verb: 'run' | 'create', args: readonly string[]): Asked {
  const { flags, rest } = parseFlags(verb, args, FLAGS, { stop: true })
  const [image, ...command] = rest
  if (!image) throw usage(`zos ${verb}: name an image: zos ${verb} [FLAGS] IMAGE [COMMAND…]`)
  if ((flags.network ?? 'none') !== 'none') {
    throw usage(
      `Attach to network "${flags.network}": a workload of one machine has none; publish ports with -p, or deploy it on a grid`,
    )
  }
  const detachKeys = parseKeys(flags['detach-keys'] ?? DETACH_KEYS)
  const mounts = flags.mount.map(parseMount)
  // -1 is Docker's word for "no limit"
  const pidsLimit = flags['pids-limit'] === '-1' ? undefined : positive(flags['pids-limit'], '--pids-limit')
  if (pidsLimit !== undefined && !Number.isInteger(pidsLimit))
    throw usage(`Read --pids-limit "${flags['pids-limit']}": there is no part of a process`)
  const request: RunRequest = {
    image,
    command,
    env: envOf(flags.env, flags['env-file']),
    tty: flags.tty,
    interactive: flags.interactive,
    detach: flags.detach,
    remove: flags.rm,
    init: flags.init,
    readOnly: flags['read-only'],
    volumes: [...flags.volume.map(parseVolume), ...mounts.flatMap((m) => m.volume ?? [])],
    tmpfs: [...flags.tmpfs.map(parseTmpfs), ...mounts.flatMap((m) => m.tmpfs ?? [])],
    ports: flags.publish.map(parsePort),
    publishAll: flags['publish-all'],
    labels: Object.fromEntries(flags.label.map((l) => [l.split('=', 1)[0]!, l.slice(l.indexOf('=') + 1 || l.length)])),
    restart: parseRestart(flags.restart ?? 'no'),
  }
  if (request.remove && request.restart.name !== 'no') throw usage(`zos ${verb}: --rm and --restart exclude each other`)
  if (flags.workdir !== undefined && !flags.workdir.startsWith('/'))
    throw usage(`Start in folder "${flags.workdir}": write a path from the root, as /srv`)
  const optional = {
    name: flags.name,
    entrypoint: flags.entrypoint,
    workdir: flags.workdir,
    user: flags.user,
    hostname: flags.hostname === undefined ? undefined : hostname(flags.hostname),
    memory: flags.memory === undefined ? undefined : parseBytes(flags.memory, '--memory'),
    cpus: positive(flags.cpus, '--cpus'),
    pidsLimit,
    ulimits: listed(flags.ulimit.map(parseUlimit)),
    groupAdd: listed(flags['group-add']),
    hosts: listed(flags['add-host'].map(parseHost)),
    health: healthOf(verb, flags),
    stopSignal: flags['stop-signal'],
    stopTimeout: positive(flags['stop-timeout'], '--stop-timeout'),
    window:
      flags.tty && process.stdout.isTTY ? { rows: process.stdout.rows, columns: process.stdout.columns } : undefined,
  }
  Object.assign(request, Object.fromEntries(Object.entries(optional).filter(([, v]) => v !== undefined)))
  return { request, member: { as: flags.as, group: flags.group }, detachKeys }
}
