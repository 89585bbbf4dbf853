import assert from 'node:assert/strict'
import test from 'node:test'
import { fasterBy } from './doctor.ts'
import { storeText } from './store.ts'

test('the store speaks to people, not in JSON', () => {
  const said = storeText({
    dir: '/a',
    local: { objects: 3, bytes: 2048 },
    removedBytes: 1536,
    healed: [],
    lost: [{ id: 'ab' }],
  })
  assert.equal(
    said,
    'dir            /a\nlocal          objects 3, bytes 2.0 KiB\nremoved bytes  1.5 KiB\nhealed         none\nlost           id ab\n',
  )
})

test('who may not open /dev/kvm is told how to, not to take another machine', () => {
  assert.match(
    fasterBy('"/dev/kvm" cannot be opened (EACCES: permission denied): software emulation'),
    /usermod -aG kvm/,
  )
  assert.match(fasterBy('no guest booted under KVM'), /a machine whose/)
})
