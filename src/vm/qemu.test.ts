import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { findQemu } from './qemu.ts'

const dir = mkdtempSync(join(tmpdir(), 'zos-qemu-'))
after(() => rmSync(dir, { recursive: true, force: true }))

/** A program that says it is QEMU of VERSION. */
function saying(version: string): string {
  const path = join(dir, version.replaceAll(/[^\w.]/g, ''))
  writeFileSync(path, `#!/bin/sh\necho 'QEMU emulator version ${version}'\n`)
  chmodSync(path, 0o755)
  return path
}

test('a QEMU below 7.2, or none, is refused in one line that says what to do', async () => {
  for (const version of ['7.1.0 (Debian 1:7.1)', '6.2.0', '2.12.1', 'unknown'])
    await assert.rejects(findQemu(saying(version)), {
      code: 'old-qemu',
      message: /install qemu-system-x86 of Debian 12/,
    })
  await assert.rejects(findQemu(join(dir, 'none')), { code: 'program-missing' })
  for (const [text, version] of [
    ['7.2.22 (Debian 1:7.2+dfsg-7)', [7, 2]],
    ['10.0.2', [10, 0]],
  ] as const)
    assert.deepEqual((await findQemu(saying(text))).version, version)
})
