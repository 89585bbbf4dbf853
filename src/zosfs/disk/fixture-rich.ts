import { noise, type Spec } from './fixture.ts'

const u32 = (...values: number[]) => {
  const out = Buffer.alloc(values.length * 4)
  values.forEach((v, n) => {
    out.writeUInt32LE(v, n * 4)
  })
  return out
}

/** security.capability, revision 2: cap_net_raw+ep (include/uapi/linux/capability.h). */
const capability = u32(0x02000001, 1 << 13, 0, 0, 0)
/** POSIX ACL, version 2: user::rw- user:1000:r-- group::r-- mask::r-- other::--- (posix_acl_xattr.h). */
const acl = Buffer.concat([
  u32(2),
  ...[
    [1, 6, 0xffffffff],
    [2, 4, 1000],
    [4, 4, 0xffffffff],
    [0x10, 4, 0xffffffff],
    [0x20, 0, 0xffffffff],
  ].map(([tag, perm, id]) => u32(tag! | (perm! << 16), id!)),
])

/** One of everything a file tree can hold, and each size at which the layout changes. */
export function richTree(): Spec[] {
  const sparse = Buffer.alloc(3 * (128 << 10) + 777)
  noise(5000, 8).copy(sparse, 128 << 10)
  const large = Buffer.alloc((64 << 20) + 4097)
  noise(700_000, 9).copy(large, 100_000)
  noise(9000, 10).copy(large, large.length - 9000)
  const specs: Spec[] = [
    { path: '', directory: true, mode: 0o751, uid: 3, gid: 4, mtime: [1700000001n, 999999999] },
    { path: 'bin/busybox', data: noise(900_001, 1), mode: 0o4755, xattrs: { 'security.capability': capability } },
    { path: 'bin/sh', link: 'bin/busybox' },
    { path: 'bin/zz', link: 'bin/busybox' },
    { path: 'empty', data: Buffer.alloc(0) },
    { path: 'empty-directory', directory: true, mode: 0o1777 },
    { path: 'sparse', data: sparse },
    { path: 'large', data: large },
    { path: 'old', data: Buffer.from('x'), mtime: [-1234567890n, 5] },
    { path: 'late', data: Buffer.from('y'), mtime: [9999999999n, 123456789], uid: 4294967294, gid: 70000 },
    { path: 'acl', data: Buffer.from('z'), mode: 0o640, xattrs: { 'system.posix_acl_access': acl } },
    { path: 'acl-directory', directory: true, xattrs: { 'system.posix_acl_default': acl } },
    {
      path: 'attributes',
      data: Buffer.from('attributes'),
      xattrs: {
        'user.empty': Buffer.alloc(0),
        'user.long': noise(5000, 3),
        'trusted.one': Buffer.from([0, 255, 10]),
        [`user.${'n'.repeat(250)}`]: Buffer.from('long name'),
      },
    },
    { path: 'attributes-directory', directory: true, xattrs: { 'user.big': noise(4080, 4) } },
    { path: 'attributes-link', symlink: 'x'.repeat(200), xattrs: { 'trusted.big': noise(4000, 5) } },
    { path: 'dev/null', device: 'character', major: 1, minor: 3, mode: 0o666 },
    { path: 'dev/odd', device: 'block', major: 4095, minor: 0xfffff },
    { path: 'dev/high', device: 'character', major: 259, minor: 300 },
    { path: 'fifo', special: 'fifo' },
    { path: 'socket', special: 'socket' },
    { path: 'link', symlink: 'bin/busybox' },
    { path: 'link-again', link: 'link' },
    { path: 'link-long', symlink: 'y'.repeat(4000) },
    { path: 'link-longest', symlink: `/${'z'.repeat(4094)}` },
    { path: '!first', data: Buffer.from('!') },
    { path: '+plus', data: Buffer.from('+') },
    { path: '-minus', data: Buffer.from('-') },
    { path: '...dots', data: Buffer.from('...') },
    { path: '\xff\xfe\x80', data: Buffer.from('not UTF-8') },
    { path: '\x01\n\t', data: Buffer.from('control') },
    { path: 'n'.repeat(255), data: Buffer.from('long name') },
    { path: `d/${'e'.repeat(255)}/${'f'.repeat(255)}`, directory: true },
  ]
  for (let n = 0; n < 5000; n++) {
    specs.push({ path: `many/file-${n}-${'p'.repeat(n % 50)}`, data: Buffer.from(n % 40 ? `file ${n}` : '') })
  }
  // sizes around the edges of blocks, packs and chunks, and directories around the edges of a block
  for (const size of [1, 4095, 4096, 4097, 16383, 16384, 16385, 131071, 131072, 131073, 262144]) {
    specs.push({ path: `sizes/${size}`, data: noise(size, size).fill(1, 0, 1) })
  }
  for (let bytes = 4000; bytes <= 4110; bytes += 5) {
    // `.`, `..` and names of 200 bytes (212 with their dirent) and a last name that fills up to BYTES
    const names = Math.floor((bytes - 27 - 14) / 212)
    for (let n = 0; n < names; n++) {
      specs.push({ path: `edges/${bytes}/${String(n).padStart(2, '0')}${'q'.repeat(198)}`, data: Buffer.alloc(0) })
    }
    specs.push({ path: `edges/${bytes}/${'r'.repeat(bytes - 27 - names * 212 - 12)}`, data: Buffer.alloc(0) })
  }
  return specs
}
