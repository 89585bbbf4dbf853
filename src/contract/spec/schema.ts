import { posix } from 'node:path'
import { z } from '#npm'
import { NAMES } from '../typed/schema.ts'

// Scalars arrive as the text the user typed (YAML's failsafe schema): "1.10" stays "1.10" where it is a string.

const label = z.string().regex(/^(?!-)[a-z0-9-]{1,63}(?<!-)$/, 'take 1 to 63 of a–z, 0–9 and "-", no "-" at an end')
const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine((s) => !s.includes('\0'), 'holds a NUL byte')
const path = text(4096).regex(/^\/[^:]*$/, 'take an absolute path without ":"')
const flag = z.enum(['true', 'false'], 'take true or false').transform((s) => s === 'true')
const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `take a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((n) => n >= min && n <= max, `take a whole number from ${min} to ${max}`)

const powers: Record<string, number> = { '': 0, k: 1, m: 2, g: 3, t: 4 }
/** "128m", "2g", "1.5g", "512MiB": bytes, as Docker counts them (powers of 1024), rounded up to MiB. */
const mebibytes = (min: number) =>
  z
    .string()
    .regex(/^\d{1,9}(\.\d{1,3})?\s*([kmgt]i?)?b?$/i, 'take a size such as "128m" or "2g"')
    .transform((s) => {
      const [, n, unit = ''] = /^([\d.]+)\s*([kmgt]?)/i.exec(s)!
      return Math.ceil((Number(n) * 1024 ** powers[unit.toLowerCase()]!) / 1024 ** 2)
    })
    .refine((n) => n >= min && n < 2 ** 27, `take at least ${min}m and less than 128t`)

/** "10m", "1g", "500k": bits per second in powers of 1000, as kbit/s. */
const rate = z
  .string()
  .regex(/^\d{1,9}(\.\d{1,3})?\s*[kmg]?(bit)?(\/s)?$/i, 'take a rate in bits such as "10m" or "500k"')
  .transform((s) => {
    const [, n, unit = ''] = /^([\d.]+)\s*([kmg]?)/i.exec(s)!
    return Math.ceil((Number(n) * 1000 ** powers[unit.toLowerCase()]!) / 1000)
  })
  .refine((n) => n >= 1 && n < 2 ** 27, 'take 1k to 134g')

/** What an ext4 with a journal needs. */
export const LEAST_VOLUME_MIB = 16

const scale: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400 }
/** "30s", "5m", "12h", "90d": seconds. */
const duration = z
  .string()
  .regex(/^\d{1,6}\s*[smhd]$/, 'take a duration such as "30s" or "90d"')
  .transform((s) => Number.parseInt(s, 10) * scale[s.at(-1)!]!)
  .refine((n) => n > 0, 'take more than 0')

const cpus = z
  .string()
  .regex(/^\d{1,4}(\.\d{1,3})?$/, 'take a number of CPUs such as "1" or "0.5"')
  .transform((s) => Math.round(Number(s) * 1000))
  .refine((n) => n >= 1 && n <= 1024_000, 'take 0.001 to 1024')

const country = z
  .string()
  .regex(/^[A-Za-z]{2}$/, 'take a country as ISO 3166-1 has it, such as "DE"')
  .transform((s) => s.toUpperCase())
const region = z
  .string()
  .regex(/^[A-Za-z]{2}-[A-Za-z0-9]{1,3}$/, 'take a region as ISO 3166-2 has it, such as "DE-BY"')
  .transform((s) => s.toUpperCase())

const geo = z
  .strictObject({
    countries: z.array(country).max(64).default([]),
    notCountries: z.array(country).max(64).default([]),
    regions: z.array(region).max(64).default([]),
  })
  .refine((g) => !g.countries.some((c) => g.notCountries.includes(c)), 'a country is both allowed and forbidden')

const isPort = (n: number): boolean => n >= 1 && n <= 65535
const port = z
  .string()
  .regex(/^\d{1,5}(\/(tcp|udp))?$/, 'take a port such as 80 or "53/udp"')
  .transform((s) => ({
    port: Number.parseInt(s, 10),
    protocol: s.endsWith('/udp') ? ('udp' as const) : ('tcp' as const),
  }))
  .refine((p) => isPort(p.port), 'take a port from 1 to 65535')

const LABEL = '(?!-)[a-z0-9-]{1,63}(?<!-)'
/** A workload of this deployment, all of them, or those of another deployment of the group. */
const others = text(128).regex(
  new RegExp(`^${LABEL}/(${LABEL}|\\*)$`),
  'take "DEPLOYMENT/WORKLOAD" or "DEPLOYMENT/*" of the group',
)
const who = text(128).regex(
  new RegExp(`^(@people|(${LABEL}/)?(${LABEL}|\\*))$`),
  'take a workload\'s name, "*" for all of this deployment, "DEPLOYMENT/WORKLOAD", "DEPLOYMENT/*" or "@people"',
)

const variables = z.record(
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,255}$/, 'is no name of a variable'),
  text(32768),
)
/** Where PATH leads, so that two ways to write one folder are one. */
const folder = (path: string): string => posix.normalize(`${path}/`)
const areUnique = (all: readonly string[]): boolean => new Set(all).size === all.length

const words = z.union([z.array(text(8192)).max(256), text(8192).transform((s) => [s])])

const health = z
  .strictObject({
    command: words.refine((argv) => (argv[0] ?? '') !== '', 'take a command').optional(),
    http: z
      .string()
      .regex(/^:\d{1,5}\/\S*$/, 'take a port and path such as ":80/healthz"')
      .refine((s) => isPort(Number.parseInt(s.slice(1), 10)), 'take a port from 1 to 65535')
      .optional(),
    tcp: whole(1, 65535).optional(),
    interval: duration.default(30),
    timeout: duration.default(30),
    retries: whole(1, 100).default(3),
    start: duration.optional(),
  })
  .refine(
    (h) => [h.command, h.http, h.tcp].filter((x) => x !== undefined).length === 1,
    'take one of command, http, tcp',
  )

const restart = z
  .string()
  .regex(/^(no|always|unless-stopped|on-failure(:\d{1,4})?)$/, 'take no, always, unless-stopped or on-failure[:n]')

const samePort = (a: { port: number; protocol: string }, b: { port: number; protocol: string }): boolean =>
  a.port === b.port && a.protocol === b.protocol

/** What a machine is told its program's words and variables in. Bytes. */
const WORDS = 65_536
const bytesOf = (texts: readonly string[]): number => texts.reduce((n, t) => n + Buffer.byteLength(t) + 1, 0)

export const workloadSchema = z
  .strictObject({
    // its slots answer as NAME-0 to NAME-127, which are labels too
    name: label.max(59, 'take at most 59 characters: its slots are called NAME-0 and so on'),
    /** A name the hub resolves, or a flist's digest; pinned to the digest when proposed. */
    image: text(512).min(1, 'name an image'),
    flist: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'take the 64 hex digits of a flist')
      .optional(),
    /** Hubs give its image to the group and the nodes it is placed on alone. */
    private: flag.optional(),
    memory: mebibytes(16),
    cpus: cpus.default(1000),
    disk: mebibytes(1).optional(),
    uplink: rate.optional(),
    entrypoint: words.optional(),
    args: words.optional(),
    env: variables.default({}),
    secrets: variables.default({}),
    user: text(128).optional(),
    workdir: path.optional(),
    volumes: z
      .array(z.strictObject({ name: label, path, size: mebibytes(LEAST_VOLUME_MIB), readonly: flag.default(false) }))
      .max(6, 'a machine takes 6 volumes')
      .default([]),
    ports: z.array(port).max(64).default([]),
    /** Who may open connections to which ports; absent: this deployment and the group's people, to all of them. */
    allow: z
      .array(
        z.strictObject({
          from: z.array(who).min(1, 'list at least one').max(32),
          ports: z.array(port).min(1, 'list at least one').max(64),
        }),
      )
      .max(64)
      .optional(),
    /** Workloads of the group's other deployments that it may open connections to. */
    reach: z.array(others).max(32).optional(),
    egress: z.enum(['none', 'internet'], 'take none or internet').default('none'),
    names: z.array(label).max(NAMES).default([]),
    health: health.optional(),
    restart: restart.default('unless-stopped'),
    geo: geo.optional(),
    replicas: whole(1, 128).default(1),
    /** keep: runs on without contact and never fails over by itself; fenced: holds a lease. */
    mode: z.enum(['keep', 'fenced'], 'take keep or fenced').default('keep'),
    standby: flag.default(false),
    /** Nodes to place the replicas on, by name or number, in order. */
    nodes: z.array(text(63)).max(128).default([]),
  })
  .refine((w) => (w.allow ?? []).every((r) => r.ports.every((p) => w.ports.some((d) => samePort(p, d)))), {
    message: 'a port of a rule is not among the ports',
    path: ['allow'],
  })
  .refine((w) => !w.standby || w.mode === 'fenced', { message: 'a standby needs mode: fenced', path: ['standby'] })
  .refine((w) => areUnique(w.volumes.map((v) => folder(v.path))), {
    message: 'two volumes have one path',
    path: ['volumes'],
  })
  // what a node would not start, it refuses only after all have signed
  .refine((w) => areUnique(w.volumes.map((v) => v.name)), { message: 'two volumes have one name', path: ['volumes'] })
  .refine((w) => w.volumes.every((v) => folder(v.path) !== '/'), {
    message: 'a volume cannot be at "/", where the image is',
    path: ['volumes'],
  })
  .refine((w) => Object.keys(w.env).every((name) => !Object.hasOwn(w.secrets, name)), {
    message: 'a variable is in "env" and in "secrets": leave one of them out',
    path: ['secrets'],
  })
  .refine(
    (w) =>
      bytesOf([
        ...(w.entrypoint ?? []),
        ...(w.args ?? []),
        ...[w.env, w.secrets].flatMap((all) => Object.entries(all).map((e) => e.join('='))),
      ]) <= WORDS,
    {
      message: `its words and variables take more than ${WORDS} bytes: pass what is long in a volume or the image`,
      path: ['env'],
    },
  )
  .refine((w) => !(w.nodes.length > w.replicas), { message: 'more nodes than replicas', path: ['nodes'] })

export const specSchema = z
  .strictObject({
    name: label,
    /** How long the group's consent lasts: without a new one everything is released. */
    expires: duration.optional(),
    /** How long a migrated slot's old place stays booked at most. */
    drain: duration.refine((n) => n <= 30 * 86400, 'take at most 30d').default(600),
    geo: geo.optional(),
    /** At least so many farms among the slots. */
    farms: whole(1, 128).default(1),
    workloads: z.array(workloadSchema).min(1, 'list at least one').max(128),
  })
  .refine((s) => areUnique(s.workloads.map((w) => w.name)), {
    message: 'two workloads have one name',
    path: ['workloads'],
  })
  // a step with more, no log can hold
  .refine((s) => s.workloads.flatMap((w) => w.names).length <= NAMES, {
    message: `more than ${NAMES} names in all`,
    path: ['workloads'],
  })
  .refine((s) => areUnique(s.workloads.flatMap((w) => w.names)), {
    message: 'two names are one',
    path: ['workloads'],
  })
  .refine((s) => s.workloads.reduce((n, w) => n + w.replicas, 0) <= 128, {
    message: 'more than 128 slots in all',
    path: ['workloads'],
  })

/** A deployment spec with its defaults filled in: sizes in MiB, cpus in 1/1000, rates in kbit/s, times in seconds. */
export type Spec = z.infer<typeof specSchema>
export type Workload = z.infer<typeof workloadSchema>
