// A private network of ours and of the public daemon: MYCELIUM_BIN names the public "mycelium-private", which is a program
// of its own and does all that the other does.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { callUnix, until } from '#sys'
import { createNet, type Kind } from '../bench/overlay/net.ts'
import { transferred } from './overlay.ts'

function whyNot(): string | false {
  const bin = process.env.MYCELIUM_BIN
  if (!bin) return 'set MYCELIUM_BIN to a public "mycelium-private" to run it'
  const help = String(spawnSync(bin, ['--help']).stdout)
  return help.includes('--network-name') ? false : `"${bin}" speaks no private networks: "mycelium-private" does`
}
const skip = whyNot()

for (const kinds of [
  ['ours', 'public'],
  ['public', 'ours'],
] as Kind[][])
  test(`a private network, ${kinds.join(' – ')}: who has the key is in, who has another is not`, { skip }, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'zos-private-'))
    const keys = ['shared', 'other'].map((name) => {
      writeFileSync(join(dir, name), randomBytes(32), { mode: 0o600 })
      return join(dir, name)
    })
    // the third dials the second like the first, with another key
    const all: Kind[] = [kinds[0]!, kinds[1]!, 'ours']
    const edges = [
      [0, 1],
      [2, 1],
    ] as const
    const flags = (i: number) => ['--network-name', 'home', '--network-key-file', keys[i === 2 ? 1 : 0]!]
    try {
      using net = createNet(all, edges, flags)
      for (const i of [1, 0, 2]) net.start(i)
      const ping = (from: number, to: number) =>
        net.exec(from, ['ping', '-6', '-c', '1', '-W', '1', net.addresses[to]!])
      await until('the first to reach the second', 60_000, async () => ping(0, 1).status === 0)
      assert.equal(await transferred(net, 0, 1), '20000000 same')
      assert.equal(await transferred(net, 1, 0), '20000000 same')
      const stranger = () => callUnix<{ state: string; lastError: string | null }[]>(net.api(2), 'GET', '/peers')
      await until('the stranger to be refused', 20_000, async () => (await stranger())[0]?.lastError != null)
      assert.notEqual((await stranger())[0]?.state, 'up')
      assert.notEqual(ping(2, 1).status, 0)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
