import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { createKeyFile, describeIdentity, readKeyFile } from './identity.ts'

test('a key file is 32 raw bytes for its owner alone, never written over, and read only as long as it is that', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-key-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const path = join(dir, 'me.key')
  const made = await createKeyFile(path)
  const before = readFileSync(path)
  assert.deepEqual([before.length, statSync(path).mode & 0o777], [32, 0o600])
  const { publicKey, address, subnet } = describeIdentity(await readKeyFile(path))
  assert.equal(publicKey, made.publicKey.toString('hex'))
  assert.match(address, /^[45][0-9a-f]{2}:/)
  assert.ok(subnet.endsWith('::/64') && address.startsWith(subnet.slice(0, -5)))

  await assert.rejects(
    createKeyFile(path),
    /^ZosError: Create key file ".*me\.key": it exists already; remove it first/,
  )
  assert.deepEqual(readFileSync(path), before)
  symlinkSync(join(dir, 'nowhere'), join(dir, 'link'))
  for (const bad of [join(path, 'below'), '/proc/me.key'])
    await assert.rejects(createKeyFile(bad), { code: 'key-unwritable' })

  chmodSync(path, 0o604)
  await assert.rejects(readKeyFile(path), /everybody on this machine may read it; run chmod 600/)
  for (const size of [0, 31, 33, 64]) {
    const odd = join(dir, 'odd')
    writeFileSync(odd, Buffer.alloc(size), { mode: 0o600 })
    await assert.rejects(readKeyFile(odd), new RegExp(`: ${size} bytes, a key is 32 raw bytes$`))
  }
  // a device without an end too
  for (const none of [join(dir, 'none'), dir, join(dir, 'link'), '/dev/zero'])
    await assert.rejects(readKeyFile(none), /^ZosError: Read key file ".*": .*keygen" makes one$/)
})
