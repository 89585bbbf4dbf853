import { randomBytes } from 'node:crypto'
import { posix } from 'node:path'
import { ZosError } from '#codec'
import { VOLUME_SLOTS } from '#vm'
import type { RunRequest } from '#wire'

/** ANONYMOUS: made for this workload alone, and removed with it where that is asked for. */
export type WorkloadVolume = RunRequest['volumes'][number] & { anonymous?: true }

const folder = (path: string): string => posix.normalize(`${path}/`)

/** The volumes asked for, and one without a name for each folder that the image declares to be one and nothing else covers. */
export function volumesOf(request: RunRequest, declared: Record<string, unknown> | null | undefined): WorkloadVolume[] {
  const taken = new Set([...request.volumes, ...request.tmpfs].map(({ target }) => folder(target)))
  const targets = request.ignoreImageVolumes ? [] : Object.keys(declared ?? {}).filter((path) => path.startsWith('/'))
  const own = targets.filter((target) => !taken.has(folder(target)) && folder(target) !== '/')
  const volumes = [...request.volumes, ...own.map((target) => ({ source: '', target, readOnly: false }))]
  if (volumes.length > VOLUME_SLOTS) {
    throw new ZosError(`Run "${request.image}": ${volumes.length} volumes, a machine takes ${VOLUME_SLOTS}`, {
      code: 'too-many-volumes',
    })
  }
  return volumes.map((v) => (v.source === '' ? { ...v, source: randomBytes(32).toString('hex'), anonymous: true } : v))
}
