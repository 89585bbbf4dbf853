import { codeOf, ZosError } from '#codec'

/** Whether ERROR of a system call says that a disk, or somebody's share of it, is full. */
export const isFull = (error: unknown): boolean => ['ENOSPC', 'EDQUOT'].includes(codeOf(error))

/** What WHAT fails with then: code `disk-full`. */
export const diskFull = (what: string, cause: unknown): ZosError =>
  new ZosError(`${what}: this machine's disk is full; free space`, { code: 'disk-full', kind: 'node', cause })
