import assert from 'node:assert/strict'
import test from 'node:test'
import { moduleIndex } from './module-index.ts'

test("depmod's files become lines that are found by their first word", () => {
  const dep = 'kernel/fs/fuse/fuse.ko:\nkernel/net/xt_nat.ko: kernel/net/nf-nat.ko kernel/net/x_tables.ko\n'
  const alias = [
    '# Aliases extracted from modules themselves.',
    'alias fs-fuse fuse',
    'alias devname:fuse fuse',
    'alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci',
    'alias char-major-10-* other',
  ].join('\n')
  assert.equal(
    moduleIndex(dep, alias),
    [
      '',
      'fuse kernel/fs/fuse/fuse.ko',
      'xt_nat kernel/net/xt_nat.ko kernel/net/nf-nat.ko kernel/net/x_tables.ko',
      'fs-fuse fuse',
      '',
      'char-major-10-* other',
      '',
    ].join('\n'),
  )
})
