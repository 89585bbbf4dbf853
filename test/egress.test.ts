// The way to the Internet of a workload that may go there: the network plane of a node and its passt in a namespace, "the
// Internet" in another. The workload is this test, on its card's socket. Needs root and passt.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { callUnix, programFlags, run, tryRun, until } from '#sys'
import { Guest } from '../src/mycelium/nic/guest.fixture.ts'
import { ipv4OfSlot } from '../src/mycelium/nic/network.ts'
import { ipv6Packet, UDP } from '../src/mycelium/nic/packet.ts'
import { flags } from '../src/node/network/place.ts'
import { answerTo, ipv4Packet, readAnswer, synTo, udpTo } from './egress-guest.ts'
import { noNamespaces } from './overlay.ts'

const skip = noNamespaces()
const id = `ze${process.pid % 10000}`
const [node, internet] = [`${id}n`, `${id}i`]
const dir = mkdtempSync(join(tmpdir(), 'zos-egress-'))
const children: ChildProcess[] = []
const ip = (...args: string[]) => run('ip', args)

/** All of these answer where the node is: that a workload does not reach them is the node's doing. */
const SERVER = '203.0.113.7'
const FORBIDDEN = ['10.1.2.3', '100.64.0.1', '169.254.169.254', '172.20.0.1', '192.168.5.5', '198.51.100.2']

const servers = `
const net=require('net'),dgram=require('dgram')
for (const port of [25,80]) net.createServer(s=>{s.on('error',()=>{});s.end('hello')}).listen(port,'0.0.0.0')
const dns=dgram.createSocket('udp4').on('message',(m,r)=>{m[2]|=0x80;m[7]=1;dns.send(Buffer.concat([m,Buffer.from('c00c00010001000000050004cb007107','hex')]),r.port,r.address)}).bind(53,'203.0.113.7')
const echo=dgram.createSocket('udp4').on('message',(m,r)=>echo.send(m,r.port,r.address)).bind(7,'203.0.113.7')
const near=dgram.createSocket('udp4').on('message',(m,r)=>near.send(m,r.port,r.address)).bind(9)
setTimeout(()=>console.log('up'),300)`

const inNs = (ns: string, args: string[]) => {
  const child = spawn('ip', ['netns', 'exec', ns, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  return new Promise<ChildProcess>((done, failed) => {
    child.stdout!.once('data', () => done(child))
    child.once('exit', (code) => failed(new Error(`${args[0]} ended with ${code}`)))
  })
}

let plane: ChildProcess
const sockets = join(dir, 'run')
const call = <T>(socket: string, method: string, path: string, body?: unknown) =>
  callUnix<T>(join(sockets, socket), method, path, body === undefined ? {} : { body })

async function startPlane(): Promise<void> {
  const main = resolve(import.meta.dirname, '../src/node/network/main.ts')
  const args = [...programFlags(), ...flags(sockets), main, '--run', sockets, '--hub', 'http://127.0.0.1:9']
  const child = spawn('ip', ['netns', 'exec', node, process.execPath, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  children.push(child)
  plane = child
  await until('the network plane', 20_000, () =>
    call('overlay.sock', 'GET', '/ping').then(
      () => true,
      () => false,
    ),
  )
  await call('overlay.sock', 'PUT', '/node', { secret: randomBytes(32).toString('hex') })
}

/** Tells the network plane what a workload's card may do. */
async function tell(name: string, guest: Guest, egress: boolean): Promise<void> {
  const address = guest.identity.address.toString('hex')
  const network = {
    domain: 'shop.zos',
    members: [{ names: [name], address, ipv4: ipv4OfSlot(0) }],
    people: [],
    ports: [],
    ...(egress ? { egress } : {}),
  }
  await call('overlay.sock', 'PUT', `/cards/${name}`, { secret: guest.secret.toString('hex'), network })
}

/** Puts a workload's card on the overlay. */
async function plug(name: string, guest: Guest, egress: boolean): Promise<void> {
  symlinkSync(guest.path, join(sockets, 'cards', name))
  await tell(name, guest, egress)
  await guest.attached()
}

/** Processes named passt whose parent is the network plane. */
const passts = (): number[] =>
  readdirSync('/proc').flatMap((pid) => {
    try {
      const [, name, rest] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))!
      return name!.startsWith('passt') && Number(rest!.split(' ')[1]) === plane.pid ? [Number(pid)] : []
    } catch {
      return []
    }
  })

const status = async () => {
  type Status = {
    packets: Record<string, number>
    identities: { address: string; outside?: { sent: number; received: number } }[]
  }
  return call<Status>('mycelium.sock', 'GET', '/status')
}

before(async () => {
  if (skip) return
  mkdirSync(join(sockets, 'cards'), { recursive: true })
  mkdirSync(`/etc/netns/${node}`, { recursive: true })
  writeFileSync(`/etc/netns/${node}/resolv.conf`, `nameserver ${SERVER}\n`)
  for (const ns of [node, internet]) {
    await ip('netns', 'add', ns)
    await ip('-n', ns, 'link', 'set', 'lo', 'up')
  }
  await ip('link', 'add', `${id}a`, 'netns', node, 'type', 'veth', 'peer', 'name', `${id}b`, 'netns', internet)
  await ip('-n', node, 'addr', 'add', '198.51.100.1/24', 'dev', `${id}a`)
  await ip('-n', internet, 'addr', 'add', '198.51.100.2/24', 'dev', `${id}b`)
  for (const address of [SERVER, ...FORBIDDEN.slice(0, 5)])
    await ip('-n', internet, 'addr', 'add', `${address}/32`, 'dev', 'lo')
  await ip('-n', node, 'link', 'set', `${id}a`, 'up')
  await ip('-n', internet, 'link', 'set', `${id}b`, 'up')
  await ip('-n', node, 'route', 'add', 'default', 'via', '198.51.100.2')
  await inNs(internet, [process.execPath, '-e', servers])
  await startPlane()
})

after(async () => {
  for (const child of children) child.kill('SIGKILL')
  if (!skip) for (const ns of [node, internet]) await tryRun('ip', ['netns', 'del', ns])
  rmSync(`/etc/netns/${node}`, { recursive: true, force: true })
  rmSync(dir, { recursive: true, force: true })
})

test('the servers answer the node itself, all of them: what a workload does not reach is kept from it', {
  skip,
}, async () => {
  const ask = (address: string, port: number) =>
    run(
      'ip',
      [
        'netns',
        'exec',
        node,
        process.execPath,
        '-e',
        `require('net').connect(${port},'${address}').on('data',d=>{console.log(String(d));process.exit()})`,
      ],
      { timeout: 20_000 },
    )
  for (const address of [SERVER, ...FORBIDDEN])
    assert.equal((await ask(address, 80)).stdout.toString(), 'hello\n', address)
  assert.equal((await ask(SERVER, 25)).stdout.toString(), 'hello\n')
})

test('a workload that may: TCP, UDP and names answer; the LAN, the metadata service, the node and SMTP do not', {
  skip,
}, async (t) => {
  const guest = new Guest(t, dir, 'web.sock')
  await plug('web', guest, true)
  await until('passt', 20_000, () => passts().length === 1)
  // the first may come before passt listens
  const reaches = (packet: () => Buffer) =>
    until('an answer', 20_000, async () => {
      guest.send(packet(), '0800')
      return answerTo(guest, 500)
    })
  const synAck = readAnswer(await reaches(() => synTo(SERVER, 80)))
  assert.deepEqual([synAck.source, synAck.protocol, synAck.flags], [SERVER, 6, 0x12])
  const echo = readAnswer(await reaches(() => udpTo(SERVER, 7, Buffer.from('echo me'))))
  assert.deepEqual([echo.source, echo.protocol, echo.payload.toString()], [SERVER, 17, 'echo me'])

  // one that answers from an address on the node's own link
  guest.send(udpTo(SERVER, 9, Buffer.from('who are you')), '0800')
  assert.equal(await answerTo(guest, 500), undefined)

  const before = (await status()).packets
  const refused = async (packet: Buffer) => {
    guest.received.length = 0
    guest.send(packet, '0800')
    const { source, protocol, type, code } = readAnswer((await answerTo(guest, 5_000))!)
    assert.deepEqual([source, protocol, type, code], ['10.144.0.1', 1, 3, 13])
  }
  for (const address of [...FORBIDDEN, '198.51.100.1', '127.0.0.1', '224.0.0.1']) await refused(synTo(address, 80))
  await refused(synTo(SERVER, 25))
  guest.send(ipv4Packet({ source: ipv4OfSlot(7), destination: SERVER, protocol: 17, payload: Buffer.alloc(8) }), '0800')
  guest.send(ipv4Packet({ destination: SERVER, protocol: 17, payload: Buffer.alloc(64), fragment: 0x2000 }), '0800')
  guest.send(ipv4Packet({ destination: SERVER, protocol: 47, payload: Buffer.alloc(64) }), '0800')
  await until('all counted', 5_000, async () => ((await status()).packets['egress-protocol'] ?? 0) > 0)
  const now = (await status()).packets
  const grown = (name: string) => (now[name] ?? 0) - (before[name] ?? 0)
  assert.deepEqual(
    ['egress-blocked', 'egress-smtp', 'foreign-source', 'egress-fragment', 'egress-protocol'].map(grown),
    [9, 1, 1, 1, 1],
  )
  const { sent, received } = (await status()).identities.find((one) => one.outside)!.outside!
  assert.ok(sent >= 40 + 35 && received >= 40 + 35, `${sent} ${received}`)

  // a name of the world, asked of the card's own resolver, by IPv6 as resolv.conf says
  const question = Buffer.from(
    '1234010000010000000000000865786d61706c653203636f6d0000010001'.replace('0865786d61706c6532', '086578616d706c6532'),
    'hex',
  )
  const datagram = Buffer.concat([Buffer.from([0x9c, 0x40, 0, 53, 0, 8 + question.length, 0, 0]), question])
  const gateway = Buffer.concat([guest.identity.address.subarray(0, 8), Buffer.from('0000000000000001', 'hex')])
  guest.received.length = 0
  guest.send(ipv6Packet(guest.identity.address, gateway, UDP, datagram, 6), '86dd')
  const answer = (await answerTo(guest, 10_000))!
  assert.equal(answer.toString('hex', 22, 38), gateway.toString('hex'))
  assert.equal(answer.subarray(-4).join('.'), SERVER)
})

test('passt is killed: it comes back, and so does the way', { skip }, async (t) => {
  const guest = new Guest(t, dir, 'again.sock')
  await plug('again', guest, true)
  const old = await until('passt', 20_000, () => (passts().length === 2 ? passts() : undefined))
  for (const pid of old) process.kill(pid, 'SIGKILL')
  await until('others', 20_000, () => {
    const now = passts()
    return now.length === old.length && !now.some((pid) => old.includes(pid))
  })
  const answer = await until('an answer', 20_000, async () => {
    guest.send(synTo(SERVER, 80), '0800')
    return answerTo(guest, 500)
  })
  assert.equal(readAnswer(answer).source, SERVER)
})

test('the permission comes and goes with the spec, the key staying the same', { skip }, async (t) => {
  const guest = new Guest(t, dir, 'turn.sock')
  await plug('turn', guest, false)
  const others = passts().length
  await tell('turn', guest, true)
  await until('an answer', 20_000, async () => {
    await guest.attached()
    guest.send(synTo(SERVER, 80), '0800')
    return answerTo(guest, 500)
  })
  assert.equal(passts().length, others + 1)
  await tell('turn', guest, false)
  await until('its passt to end', 10_000, () => passts().length === others)
  await guest.attached()
  guest.received.length = 0
  guest.send(synTo(SERVER, 80), '0800')
  assert.equal(await answerTo(guest, 1_000), undefined)
})

test('a workload without the permission reaches nothing, and has no passt; with its plane killed no passt stays', {
  skip,
}, async (t) => {
  const others = passts()
  const guest = new Guest(t, dir, 'closed.sock')
  await plug('closed', guest, false)
  for (const packet of [synTo(SERVER, 80), synTo('10.1.2.3', 80), udpTo(SERVER, 7, Buffer.from('x'))])
    guest.send(packet, '0800')
  assert.equal(await answerTo(guest, 1_000), undefined)
  assert.deepEqual(passts().sort(), others.sort())
  const { packets, identities } = await status()
  assert.ok(packets['ipv4-untranslated']! >= 3)
  assert.equal(identities.at(-1)!.outside, undefined)
  plane.kill('SIGKILL')
  await until('no passt', 10_000, () =>
    others.every((pid) => {
      try {
        process.kill(pid, 0)
        return readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ')
      } catch {
        return true
      }
    }),
  )
})
