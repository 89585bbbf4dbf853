import { generateKeyPairSync } from 'node:crypto'
import { hubBackend, severalBackends } from '#cas'
import { ZosError } from '#codec'
import { hubDomain, readConsent } from '#contract'
import { adopt, type Library, type Published, type PublishOptions } from '#zosfs'
import { groupNamed, groupOfDeployment, openContext, signer } from './context.ts'
import { hubsBy, readGrant } from './grant.ts'
import { hubKey } from './hub_key.ts'
import { hubsFor, passFor } from './private.ts'
import { openOne } from './sealed.ts'
import { uploadMissing } from './upload.ts'

/** Which member asks, and of which group, as flags say it. */
export type Member = { as?: string | undefined; group?: string | undefined }

/** What a member granted to this home's hub key. */
const GRANTED = /^grant:([^#]+)(?:#([a-z0-9-]{1,63}))?$/
/** An image of a grid: what a deployment's workload runs by its group's last word. */
const SOURCE = /^grid:([a-z0-9-]{1,63})\/([a-z0-9-]{1,63})$/

/** Brings the image of `grid:DEPLOYMENT/WORKLOAD` from the grid's hubs into the library as TAG, asking in MEMBER's name. */
export async function publishFromGrid(
  library: Library,
  source: string,
  tag: string,
  member: Member,
  options: PublishOptions,
): Promise<Published> {
  const [, name, workload] = SOURCE.exec(source) ?? []
  if (!name || !workload)
    throw new ZosError(`Publish "${source}": write it as grid:DEPLOYMENT/WORKLOAD`, { code: 'bad-source' })
  await using context = await openContext()
  const group = await groupOfDeployment(context, name, member.group)
  const key = await signer(member.as, 'publish')
  const { placed } = (await readConsent(context.grid, group.group, name)).state
  if (!placed)
    throw new ZosError(`Publish "${source}": group "${group.name}" has agreed on no deployment "${name}"`, {
      code: 'no-deployment',
    })
  let flist: unknown
  for (let n = 0; n < placed.slots.length && flist === undefined; n++) {
    const { spec } = await openOne(context, key, placed, n)
    if (spec.workload.name === workload) flist = spec.workload.flist
  }
  if (typeof flist !== 'string')
    throw new ZosError(`Publish "${source}": the deployment has no workload "${workload}"`, { code: 'no-workload' })
  const domain = hubDomain(group.group, name)
  const secret = hubKey() ?? generateKeyPairSync('ed25519').privateKey
  const asMember = context.hubs.map((hub) =>
    hub.as(passFor(context.grid.domain, key, { domain, hub: hub.label, secret })),
  )
  return await adopt(library, severalBackends(asMember.map(hubBackend)), flist, tag, options)
}

/** Brings what `grant:FILE[#WORKLOAD]` lets this home's hub key read from the grid's hubs into the library, under the name TAG. */
export async function publishGranted(
  library: Library,
  source: string,
  tag: string,
  options: PublishOptions,
): Promise<Published> {
  const [, file = '', workload] = GRANTED.exec(source) ?? []
  const given = readGrant(file)
  const names = Object.keys(given.images)
  const digest = given.images[workload ?? (names.length === 1 ? names[0]! : '')]
  if (digest === undefined)
    throw new ZosError(`Publish "${source}": say behind "#" which of its workloads: ${names.join(', ')}`, {
      code: 'no-workload',
    })
  await using context = await openContext()
  return await adopt(library, severalBackends(hubsBy(context, given).map(hubBackend)), digest, tag, options)
}

/** Brings the image DIGEST to the grid's hubs, for the group's deployment NAME alone; gives how many objects were new there. */
export async function bringPrivately(library: Library, digest: string, name: string, member: Member): Promise<number> {
  await using context = await openContext()
  const group = groupNamed(context, member.group)
  const key = await signer(member.as, 'publish')
  return await uploadMissing(hubsFor(context, key, group, name), library, digest)
}
