import { randomBytes } from 'node:crypto'
import { posix } from 'node:path'
import { ZosError } from '#codec'
import { VOLUME_SLOTS } from '#vm'
import type { RunRequest } from '#wire'

/** ANONYMOUS: made for this workload alone, and removed with it where that is asked for. */
export type WorkloadVolume = RunRequest['volumes'][number] & { anonymous?: true }

/** PATH as the guest mounts at it: without "..", a second slash or one at its end. */
export const folder = (path: string): string => posix.normalize(`/${path}/`).replace(/(?<=.)\/$/, '')

/**
 * Refuses what would be two disks of one file, each with a file system of its own in mind, and folders that hide each other
 * or the image.
 */
function checkMounts({ image, volumes, tmpfs }: RunRequest): void {
  const refuse = (why: string) => {
    throw new ZosError(`Run "${image}": ${why}`, { code: 'bad-mounts' })
  }
  const twice = (all: string[]) => all.find((one, n) => all.indexOf(one) !== n)
  const targets = [...volumes, ...tmpfs].map(({ target }) => folder(target))
  const target = twice(targets)
  if (target !== undefined) refuse(`two mounts are to be at "${target}"; give each a folder of its own`)
  if (targets.includes('/')) refuse('"/" is the image itself; mount at a folder below it')
  const source = twice(volumes.map((v) => v.source).filter((name) => name !== ''))
  if (source !== undefined) refuse(`volume "${source}" is to be mounted twice; link to it from the other place`)
}

/** The volumes asked for, and one without a name for each folder that the image declares to be one and nothing else covers. */
export function volumesOf(request: RunRequest, declared: Record<string, unknown> | null | undefined): WorkloadVolume[] {
  checkMounts(request)
  const taken = new Set([...request.volumes, ...request.tmpfs].map(({ target }) => folder(target)))
  const targets = request.ignoreImageVolumes ? [] : Object.keys(declared ?? {}).filter((path) => path.startsWith('/'))
  const own = new Set(targets.map(folder).filter((target) => !taken.has(target) && target !== '/'))
  const volumes = [
    ...request.volumes.map((v) => ({ ...v, target: folder(v.target) })),
    ...[...own].map((target) => ({ source: '', target, readOnly: false })),
  ]
  if (volumes.length > VOLUME_SLOTS) {
    throw new ZosError(`Run "${request.image}": ${volumes.length} volumes, a machine takes ${VOLUME_SLOTS}`, {
      code: 'too-many-volumes',
    })
  }
  return volumes.map((v) => (v.source === '' ? { ...v, source: randomBytes(32).toString('hex'), anonymous: true } : v))
}
