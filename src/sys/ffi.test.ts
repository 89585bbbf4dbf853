import assert from 'node:assert/strict'
import { lstatSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { makeNode, readXattrs, setTime, writeXattr } from '#sys'

const dir = mkdtempSync(join(tmpdir(), 'zos-ffi-'))
test.after(() => rmSync(dir, { recursive: true }))

test('extended attributes and times, bytes and nanoseconds kept, links not followed', () => {
  const file = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe])])
  writeFileSync(file, 'x')
  writeXattr(file, Buffer.from('user.binary'), Buffer.from([0, 255, 10]))
  writeXattr(file, Buffer.from('user.empty'), Buffer.alloc(0))
  assert.deepEqual(
    new Map(readXattrs(file).map(({ name, value }) => [name.toString(), value.toString('hex')])),
    new Map([
      ['user.binary', '00ff0a'],
      ['user.empty', ''],
    ]),
  )
  const link = join(dir, 'link')
  symlinkSync(file.toString('latin1'), link)
  assert.deepEqual(readXattrs(Buffer.from(link)), [])
  setTime(Buffer.from(link), { seconds: -3n, nanoseconds: 999_999_999 })
  assert.equal(lstatSync(link, { bigint: true }).mtimeNs, -2_000_000_001n)
  assert.throws(() => readXattrs(Buffer.from(join(dir, 'none'))), { code: 'file-attributes' })
})

test('a device node gets the numbers it was asked for', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  const path = join(dir, 'device')
  makeNode(Buffer.from(path), 0o060600, 259, 0x12345)
  // glibc's gnu_dev_major/minor of st_rdev
  const { rdev, mode } = lstatSync(path)
  assert.deepEqual([mode, (rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)], [0o060600, 259, 0x12345])
})
