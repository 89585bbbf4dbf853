import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { refusesTaps, run, tryRun, until } from '#sys'
import { formatAddress } from '../address.ts'
import { Daemon } from '../daemon/daemon.ts'
import { changed, FUZZ_RUNS } from '../fuzz.fixture.ts'
import { identityOf } from '../identity.ts'
import { createLink, isOfLink, LINK_LOCAL } from './link.ts'
import { formatIpv4, gatewayOf, IPV4_GATEWAY, ipv4OfSlot, type NicNetwork } from './network.ts'
import { ICMPV6, ipv6Packet } from './packet.ts'

/** A process in a network namespace of its own. */
async function namespace(t: TestContext): Promise<number> {
  const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  t.after(() => holder.kill('SIGKILL'))
  holder.stdin.write('.')
  await once(holder.stdout, 'data')
  return holder.pid!
}

const inside = (pid: number, ...words: string[]) => tryRun('nsenter', [`--net=/proc/${pid}/ns/net`, ...words])
const lacking = process.getuid?.() === 0 ? refusesTaps('/proc/self/ns/net', `zl${process.pid}`) : 'taps need root'

/** A kernel like any other's, with a card whose far end the network plane has. */
async function kernel(t: TestContext, far: number, path: string, slot: number) {
  const pid = await namespace(t)
  const secret = randomBytes(32)
  const identity = identityOf(secret)
  const name = `zv${randomBytes(4).toString('hex')}`
  const must = async (...words: string[]) => {
    const { code, stderr } = await inside(pid, ...words)
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`)
  }
  await run('nsenter', [
    `--net=/proc/${far}/ns/net`,
    'ip',
    'link',
    'add',
    name,
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    String(pid),
  ])
  await must('ip', 'link', 'set', 'eth0', 'mtu', '65521', 'address', '02:7a:6f:73:00:02')
  writeFileSync(path, `tap ${far} ${name}\n`)
  return {
    secret,
    identity,
    /** Its two addresses, and no route by hand: what is on its link its kernel has to ask. */
    async up() {
      await must('ip', 'addr', 'add', `${formatAddress(identity.address)}/128`, 'dev', 'eth0')
      await must('ip', 'addr', 'add', `${formatIpv4(ipv4OfSlot(slot))}/24`, 'dev', 'eth0')
      await must('ip', 'link', 'set', 'eth0', 'up')
    },
    says: async (...words: string[]) => (await inside(pid, ...words)).stdout.toString(),
    pings: async (address: string, size: string) =>
      (await inside(pid, 'ping', '-c', '1', '-W', '3', '-M', 'do', '-s', size, address)).code === 0,
  }
}

test('any kernel finds out by itself what its card leads to', { skip: lacking }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-link-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const far = await namespace(t)
  const one = await kernel(t, far, join(dir, 'one'), 0)
  const two = await kernel(t, far, join(dir, 'two'), 1)
  const network: NicNetwork = {
    domain: 'shop.zos',
    members: [one, two].map(({ identity }, n) => ({
      names: [`w${n}`],
      address: identity.address,
      ipv4: ipv4OfSlot(n),
    })),
    ports: [],
  }
  const daemon = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [] })
  t.after(() => daemon[Symbol.asyncDispose]())
  await daemon.attach({ secret: one.secret, port: { kind: 'nic', path: join(dir, 'one'), network } })
  await daemon.attach({ secret: two.secret, port: { kind: 'nic', path: join(dir, 'two'), network } })
  await one.up()
  await two.up()
  const learnt = (who: typeof one) =>
    until('the route of an advertisement', 30_000, async () => {
      const said = await who.says('ip', '-6', 'route', 'show', 'dev', 'eth0')
      return /^400::\/7 /m.test(said) ? said : undefined
    })
  const [routes] = await Promise.all([learnt(one), learnt(two)])
  assert.match(routes, /^400::\/7 proto kernel/m)
  assert.doesNotMatch(routes, /default/)
  assert.equal((await one.says('cat', '/proc/sys/net/ipv6/conf/eth0/mtu')).trim(), '65000')
  await t.test('the node, and another slot, by IPv6 and IPv4, in packets as large as the link takes', async () => {
    for (const { pings, identity } of [one, two])
      await until('its address to be its own', 30_000, () => pings(formatAddress(gatewayOf(identity.address)), '56'))
    assert.ok(await one.pings(formatAddress(two.identity.address), '64952'))
    assert.ok(!(await one.pings(formatAddress(two.identity.address), '64953')), 'larger than the link')
    assert.ok(await one.pings(formatIpv4(IPV4_GATEWAY), '56'))
    assert.ok(await one.pings(formatIpv4(ipv4OfSlot(1)), '1400'))
    assert.ok(!(await one.pings(formatIpv4(ipv4OfSlot(2)), '56')), 'a slot that there is not')
  })
  await t.test('who takes the address of another is told that it is taken, and nobody answers to its own', async () => {
    const taken = formatAddress(two.identity.address)
    await one.says('ip', 'addr', 'add', `${taken}/128`, 'dev', 'eth0')
    await until('the address to be refused', 30_000, async () => /dadfailed/.test(await one.says('ip', '-6', 'addr')))
    assert.doesNotMatch(await two.says('ip', '-6', 'addr'), /dadfailed/)
  })
})

const own = Buffer.from('0400aabbccddeeff1122334455667788', 'hex')
const guests = Buffer.from('fe80000000000000000000000000beef', 'hex')
const link = createLink({
  own,
  own4: ipv4OfSlot(0),
  gateway: gatewayOf(own),
  domain: 'shop.zos',
  mac: Buffer.from('027a6f730001', 'hex'),
})
/** What the link says to ICMPv6 of TYPE about TARGET. */
function asked(type: number, target: Buffer, { source = own, hops = 255, code = 0, cut = 0 } = {}): Buffer | undefined {
  const body = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 0, 0, 0]), target])
  const packet = ipv6Packet(source, LINK_LOCAL, ICMPV6, body, 2)
  packet[7] = hops
  assert.ok(isOfLink(packet, 0, packet.length))
  return link.answer(packet, 0, packet.length - cut, 65_000)
}
const other = Buffer.from('0500000000000000000000000000cafe', 'hex')

test('an advertisement, byte by byte: no default router, all of the overlay on the link, the MTU, where names are asked', () => {
  const said = asked(133, Buffer.alloc(0), { source: guests })!
  assert.equal(said.toString('hex', 8, 40), LINK_LOCAL.toString('hex') + guests.toString('hex'))
  assert.equal(said[7], 255)
  assert.equal(
    said.toString('hex', 44),
    [
      '40 00 0000 00000000 00000000',
      '01 01 027a6f730001',
      '05 01 0000 0000fde8',
      '03 04 07 80 ffffffff ffffffff 00000000 04000000000000000000000000000000',
      '19 03 0000 ffffffff 0400aabbccddeeff0000000000000001',
      '1f 03 0000 ffffffff 0473686f70037a6f7300 000000000000',
    ]
      .join('')
      .replaceAll(' ', ''),
  )
})

test('a neighbour is answered for once it is none of the machine itself, and nothing that came from elsewhere', () => {
  const said = asked(135, other)!
  assert.equal(said.toString('hex', 8, 40), other.toString('hex') + own.toString('hex'))
  assert.equal(
    said.toString('hex', 40, 42) + said.toString('hex', 44),
    `880060000000${other.toString('hex')}0201027a6f730001`,
  )
  assert.equal(asked(135, LINK_LOCAL)![44], 0xe0, 'the one that advertised says that it is a router')
  assert.equal(asked(135, other, { source: Buffer.alloc(16) })!.toString('hex', 24, 26), 'ff02', 'a probe')
  for (const target of [own, guests, Buffer.from('20010db8000000000000000000000001', 'hex')])
    assert.equal(asked(135, target), undefined)
  for (const odd of [{ hops: 64 }, { code: 1 }, { cut: 1 }]) assert.equal(asked(135, other, odd), undefined)
  for (const type of [134, 136, 137]) assert.equal(asked(type, other), undefined)
})

test('ARP is answered for the range of the network, its own address left out', () => {
  const ask = (target: string, head = '0001080006040001') =>
    Buffer.from(`${head}027a6f7300020a900002000000000000${target}`, 'hex')
  const say = (packet: Buffer, cut = 0) => link.answerArp(packet, 0, packet.length - cut, IPV4_GATEWAY)?.toString('hex')
  assert.equal(say(ask('0a900001')), '0001080006040002027a6f7300010a900001027a6f7300020a900002')
  for (const none of [
    ask('0a900002'),
    ask('0a910001'),
    ask('0a900001', '0001080006040002'),
    ask('0a900001', '000108000604ff01'),
  ])
    assert.equal(say(none), undefined)
  assert.equal(say(ask('0a900001'), 1), undefined)
})

test('whatever is asked, an answer is a whole packet to who asked, from the link', () => {
  const bodies = [133, 135].map((type) => {
    const packet = ipv6Packet(
      own,
      LINK_LOCAL,
      ICMPV6,
      Buffer.concat([Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]), other]),
      2,
    )
    packet[7] = 255
    return packet
  })
  const arp = Buffer.from('0001080006040001027a6f7300020a9000020000000000000a900001', 'hex')
  let answers = 0
  for (let n = 0; n < FUZZ_RUNS; n++) {
    const asking = changed(bodies[n % 2]!)
    const said = isOfLink(asking, 0, asking.length) ? link.answer(asking, 0, asking.length, 65_000) : undefined
    if (said) answers++
    assert.ok(!said || (said.length === 40 + said.readUInt16BE(4) && said[7] === 255))
    const who = changed(arp)
    assert.ok([undefined, 28].includes(link.answerArp(who, 0, who.length, IPV4_GATEWAY)?.length))
  }
  assert.ok(answers > FUZZ_RUNS / 4)
})
