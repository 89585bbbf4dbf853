import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import test from 'node:test'
import { freePort } from './port.ts'

test('a free port is the wanted one, or else none that an outgoing connection may get before it is listened on', async () => {
  const [first, last] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').trim().split(/\s+/).map(Number)
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const found = await Promise.all([freePort(), freePort(), freePort(port)])
  server.close()
  await once(server, 'close')
  for (const one of found) assert.ok(first! <= 10_240 || one < first! || one > last!, `${one} of ${first} to ${last}`)
  assert.notEqual(found[2], port, 'it was taken')
  assert.equal(await freePort(found[0]), found[0])
})
