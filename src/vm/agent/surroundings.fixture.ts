import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { run } from '#sys'
import { ensureKernel } from '../kernel.ts'
import type { Agent } from './agent.ts'
import { ask, clockNow, clockOff } from './ask.fixture.ts'
import { cacheDir } from './vm.fixture.ts'

/** What a workload finds around it: its card (at the socket NIC), its files, its clock, its kernel. For agent.test.ts. */
export async function surroundings(t: TestContext, agent: Agent, nic: string): Promise<void> {
  await t.test('its card: an address, and IPv6 in Ethernet to whoever has taken the other end', async () => {
    const card = await ask(agent, ['ip', 'addr', 'show', 'eth0'])
    assert.match(card.text, /NOARP,UP.* mtu 9000 /)
    assert.match(card.text, /inet 10\.144\.0\.2\/24 /)
    assert.match(card.text, /inet6 4aa:bbcc:ddee:ff00:123:4567:89ab:cdef\/7 scope global/)
    for (const life of ['first', 'second']) {
      const other = connect(nic)
      await once(other, 'connect')
      void ask(agent, ['ping', '-c', '1', '-W', '1', '4ff::1'])
      const [data] = (await once(other, 'data')) as [Buffer]
      other.destroy()
      await once(other, 'close')
      const length = data.readUInt32BE()
      assert.equal(length, 4 + 14 + 40 + 8 + 56 - 4, life)
      assert.equal(data.toString('hex', 4 + 12, 4 + 14 + 1), '86dd60')
      assert.equal(data.toString('hex', 4 + 14 + 8, 4 + 14 + 24), '04aabbccddeeff000123456789abcdef')
    }
  })

  await t.test('inside it is root of a machine of its own, with its hosts file and its mounts', async () => {
    const { text } = await ask(agent, [
      'sh',
      '-c',
      'id; hostname; cat /etc/hosts; ps; grep Cap /proc/self/status; cat /seed/first; pwd',
    ])
    assert.match(text, /^uid=0\(root\) gid=0\(root\) groups=0\(root\)\nguest1\n127.0.0.1 localhost\n/)
    assert.match(text, /\n +1 root +sh -c read/)
    assert.match(text, /CapEff:\s+000001ffffffffff/)
    assert.match(text, /of the image\n\/\n$/)
    assert.doesNotMatch((await ask(agent, ['ls', '/seed'])).text, /lost\+found/)
    assert.match((await ask(agent, ['df', '-k', '/tmp'])).text, /\b1024\b/)
  })

  await t.test('its clock: far off it is moved at once, less far little by little, never back', async () => {
    const before = await clockNow(agent)
    for (const by of [3_600_000.25, -3_600_000.25]) {
      const { least, most } = await clockOff(agent, by)
      const due = before + Math.max(by, 0)
      assert.ok(least < due + 2000 && most > due - 2000, `${least} to ${most}, not ${due}`)
    }
    await agent.clock(-400)
    assert.ok(Math.abs((await clockNow(agent)) - before) < 200)
    await assert.rejects(agent.clock(Number.NaN), /is no number/)
  })

  await t.test('what its kernel lacks is loaded when a program asks for it, and only if Debian signed it', async () => {
    const able =
      'exec 3<>/dev/net/tun && ip link add wg0 type wireguard && mkdir /mnt && mount -t tmpfs x /mnt && echo able'
    assert.equal((await ask(agent, ['sh', '-c', able])).text, 'able\n')
    assert.match((await ask(agent, ['cat', '/proc/modules'])).text, /^wireguard .*\n(.*\n)*tun /m)
    const unknown = await ask(agent, ['mount', '-t', 'nosuchfs', '/dev/loop0', '/mnt'])
    assert.match(unknown.err, /No such device/)
    const { modulesRoot } = await ensureKernel({ cacheDir })
    const signed = (await run('xz', ['-dc', join(modulesRoot, 'kernel/drivers/net/dummy.ko.xz')])).stdout
    const load = (bytes: Buffer) => ask(agent, ['sh', '-c', 'cat > /m.ko; insmod /m.ko'], {}, bytes)
    // the signature follows the ELF file: struct module_signature of 12 bytes, then its magic of 28
    const unsigned = signed.subarray(0, -40 - signed.readUInt32BE(signed.length - 32))
    assert.match((await load(unsigned)).err, /insmod: can't insert '\/m.ko': .+/)
    const changed = Buffer.from(signed)
    changed[changed.indexOf('dummy')]! ^= 1
    assert.match((await load(changed)).err, /insmod: can't insert '\/m.ko': .+/)
    assert.equal((await load(signed)).exit.code, 0)
  })
}
