import { readFileSync } from 'node:fs'
import { keyName } from '#cas'
import { reasonOf, ZosError } from '#codec'
import { hubDomain, readConsent, signHubPass } from '#contract'
import { parseFlags } from '../flags.ts'
import { placesOfServices } from './backing.ts'
import { type Context, groupOfDeployment, openContext, signer } from './context.ts'
import { hubKey } from './hub_key.ts'
import { factsOfLocal } from './local.ts'
import { openOne } from './sealed.ts'
import { isSame } from './way.ts'

/** What a named reader is given: no secret, for only the reader's own hub key can use it. */
export type Grant = {
  format: 'zos-grant/1'
  deployment: string
  /** Unix seconds. */
  until: number
  /** What the deployment's workloads run, by their names: digests of flists. */
  images: Record<string, string>
  /** For each address of a hub what goes into `x-zos-for`. */
  passes: { hub: string; text: string }[]
}

const MOST_DAYS = 30

/** The addresses by which the grid's hubs are known, to people here and elsewhere. */
async function hubNames({ facts }: Context): Promise<string[]> {
  const local = factsOfLocal()
  const far = local && isSame(local, facts) ? [(await placesOfServices()).hub] : []
  return [...new Set([...facts.hub, ...far])]
}

/** `zos grant DEPLOYMENT --to HUBKEY`: lets whoever has that hub key read the deployment's images, as long as the member may. */
export default async function grant(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('grant', args, {
    to: { kind: 'value', about: 'the reader\'s hub key: 64 hex digits, as "zos key hub FILE" prints them' },
    days: { kind: 'value', about: `for how long (7), at most ${MOST_DAYS}` },
    group: { kind: 'value', about: 'by name or id' },
    as: { kind: 'value', about: 'the key of the member who grants it' },
  })
  const [name, ...more] = rest
  const days = Number(flags.days ?? 7)
  if (!name || more.length > 0 || !/^[0-9a-f]{64}$/.test(flags.to ?? ''))
    throw new ZosError('zos grant: write zos grant DEPLOYMENT --to HUBKEY (64 hex digits) --as KEY', { code: 'usage' })
  if (!(days > 0 && days <= MOST_DAYS))
    throw new ZosError(
      `Grant "${name}": --days ${flags.days} is not more than 0 and at most ${MOST_DAYS}; give fewer, and grant it again when they are over`,
      {
        code: 'usage',
      },
    )
  await using context = await openContext()
  const group = await groupOfDeployment(context, name, flags.group)
  const key = await signer(flags.as, 'grant')
  const { placed } = (await readConsent(context.grid, group.group, name)).state
  if (!placed)
    throw new ZosError(`Grant "${name}": group "${group.name}" has agreed on no such deployment`, {
      code: 'no-deployment',
    })
  const images: Grant['images'] = {}
  for (const n of placed.slots.keys()) {
    const { workload } = (await openOne(context, key, placed, n)).spec
    images[String(workload.name)] = String(workload.flist)
  }
  const until = Math.floor(Date.now() / 1000 + days * 86_400) - 60
  const sign = (hub: string) => {
    const pass = { domain: hubDomain(group.group, name), hub, key: flags.to!, until }
    return { hub, text: signHubPass(context.grid.domain, key, pass) }
  }
  const passes = (await hubNames(context)).map(sign)
  const made: Grant = { format: 'zos-grant/1', deployment: name, until, images, passes }
  process.stdout.write(`${JSON.stringify(made)}\n`)
  return 0
}

/** A grant that was given, from FILE, and how its hubs are asked by it with $ZOS_HUB_KEY. */
export function readGrant(file: string): Grant {
  try {
    const read = JSON.parse(readFileSync(file, 'utf8')) as Grant
    if (read.format !== 'zos-grant/1' || !Array.isArray(read.passes)) throw new Error('it is none')
    return read
  } catch (cause) {
    throw new ZosError(`Read grant "${file}": ${reasonOf(cause)}; "zos grant" makes one`, { code: 'bad-grant', cause })
  }
}

/** CONTEXT's hubs as the reader that GRANT names asks them. */
export function hubsBy({ hubs }: Context, { passes }: Grant): Context['hubs'] {
  const secret = hubKey()
  if (!secret)
    throw new ZosError('Use grant: set ZOS_HUB_KEY to the file with the key that it was given to', {
      code: 'no-hub-key',
    })
  const named = passes.some(({ text }) => text.split(' ')[2] === keyName(secret))
  if (!named)
    throw new ZosError(`Use grant: it was given to another key than "${keyName(secret)}"`, { code: 'not-your-grant' })
  // a hub may be known to the member by another address than here
  return hubs.map((hub, n) => {
    const pass = passes.find((p) => p.hub === hub.label) ?? passes[n] ?? passes[0]!
    return hub.as({ key: secret, pass })
  })
}
