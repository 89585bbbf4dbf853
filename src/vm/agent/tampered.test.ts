// What comes from the disk is checked in the guest once more: the storage process, the socket and QEMU may all be wrong.
import assert from 'node:assert/strict'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask, COLD_BOOT } from './ask.fixture.ts'
import { connectAgent } from './client.ts'
import { bootVm, makeRoot, missing, processOf, startSpec } from './vm.fixture.ts'

test('a byte that changes on its way from the disk is an I/O error to who reads it, never data; put right, it is read', {
  skip: missing() ?? false,
  timeout: 280_000,
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-tampered-'))
  try {
    const root = await makeRoot(dir)
    await using vm = await bootVm(join(dir, 'a'), root)
    await using agent = await connectAgent(vm.socket, { fresh: true, timeout: COLD_BOOT })
    await agent.start(startSpec(root, processOf('sleep', '1000')))
    const read = () => ask(agent, ['sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches; cat /data.bin'])
    assert.ok((await read()).out.equals(root.data))

    await using image = await open(root.file, 'r+')
    const disk = Buffer.alloc(root.root.dataBlocks * 4096)
    await image.read(disk, 0, disk.length, 0)
    const middle = root.data.length / 2
    const at = disk.indexOf(root.data.subarray(middle, middle + 64))
    assert.ok(at > 0)
    const flip = (mask: number) => image.write(Buffer.from([disk[at]! ^ mask]), 0, 1, at)
    await flip(1)
    const spoiled = await read()
    assert.equal(spoiled.exit.code, 1)
    assert.match(spoiled.err, /Input\/output error/)
    assert.ok(spoiled.out.length <= middle, `${spoiled.out.length} bytes came`)
    assert.ok(spoiled.out.equals(root.data.subarray(0, spoiled.out.length)))
    assert.match((await ask(agent, ['dmesg'])).text, /verity.*corrupted/)

    await flip(0)
    assert.ok((await read()).out.equals(root.data))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
