import { ZosError } from '#codec'
import type { Xattr } from '../types.ts'

/** Name prefixes EROFS stores as an index (erofs_fs.h EROFS_XATTR_INDEX_*); the two ACLs are whole names. */
const INDEXES: [prefix: string, index: number, whole: boolean][] = [
  ['user.', 1, false],
  ['system.posix_acl_access', 2, true],
  ['system.posix_acl_default', 3, true],
  ['trusted.', 4, false],
  ['security.', 6, false],
]
const HEADER = 12
/** i_xattr_icount is 16 bits wide and counts 4-byte units after the header. */
const BODY_LIMIT = HEADER + 4 * (0xffff - 1)

const align4 = (n: number) => (n + 3) & ~3

function split(name: Buffer): { index: number; rest: Buffer } | undefined {
  const text = name.toString('latin1')
  for (const [prefix, index, whole] of INDEXES) {
    if (whole ? text === prefix : text.startsWith(prefix) && text.length > prefix.length) {
      return { index, rest: name.subarray(prefix.length) }
    }
  }
  return undefined
}

/** Bytes the extended attributes take after the inode: 0 without any. Throws what EROFS has no room for, naming PATH. */
export function xattrBytes(xattrs: readonly Xattr[], path: () => string): number {
  if (xattrs.length === 0) return 0
  let bytes = HEADER
  for (const { name, value } of xattrs) {
    const refuse = (why: string): never => {
      throw new ZosError(`Lay out "${path()}": extended attribute "${name}" ${why}; leave it out of the tree`, {
        code: 'xattr-unsupported',
        details: { path: path(), name: name.toString() },
      })
    }
    const parts = split(name) ?? refuse('is in none of the name spaces user, trusted, security and POSIX ACL')
    if (parts.rest.length > 255) refuse('has a name above 255 bytes')
    if (value.length > 0xffff) refuse('has a value above 65535 bytes')
    bytes += align4(4 + parts.rest.length + value.length)
    if (bytes > BODY_LIMIT) refuse(`makes the attributes larger than ${BODY_LIMIT} bytes`)
  }
  return bytes
}

/** i_xattr_icount for a body of BYTES bytes. */
export const xattrCount = (bytes: number): number => (bytes === 0 ? 0 : (bytes - HEADER) / 4 + 1)

/** Writes the body (a zeroed header: no name filter, no shared attributes; then the entries) into zeroed OUT at AT. */
export function writeXattrs(out: Buffer, at: number, xattrs: readonly Xattr[]): void {
  let to = at + HEADER
  for (const { name, value } of xattrs) {
    const { index, rest } = split(name)!
    out[to] = rest.length
    out[to + 1] = index
    out.writeUInt16LE(value.length, to + 2)
    out.set(rest, to + 4)
    out.set(value, to + 4 + rest.length)
    to += align4(4 + rest.length + value.length)
  }
}
