import assert from 'node:assert/strict'
import test from 'node:test'
import { parseHost, parseMount, parsePort, parseUlimit, parseVolume } from './request-values.ts'

test('ports, limits, hosts and mounts as Docker writes them', () => {
  assert.deepEqual(parsePort('8080:80/tcp'), { address: '127.0.0.1', host: 8080, guest: 80 })
  assert.deepEqual(parsePort('0.0.0.0::80'), { address: '0.0.0.0', host: 0, guest: 80 })
  assert.deepEqual(parsePort('80'), { address: '127.0.0.1', host: 0, guest: 80 })
  assert.deepEqual(parseUlimit('nofile=10'), { name: 'nofile', soft: 10, hard: 10 })
  assert.deepEqual(parseUlimit('core=0:-1'), { name: 'core', soft: 0, hard: -1 })
  assert.deepEqual(parseHost('db:fd00::1'), { name: 'db', address: 'fd00::1' })
  assert.deepEqual(parseHost('db=[::1]'), { name: 'db', address: '::1' })
  assert.deepEqual(parseMount('type=volume,src=d,dst=/d,ro'), {
    volume: { source: 'd', target: '/d', readOnly: true },
  })
  const name = 'd'.repeat(128)
  assert.deepEqual(parseVolume(`${name}:/d:ro`), { source: name, target: '/d', readOnly: true })
  assert.throws(() => parseVolume(`${name}d:/d`), { code: 'usage' })
  assert.deepEqual(parseMount('type=tmpfs,target=/t,tmpfs-size=1m'), {
    tmpfs: { target: '/t', options: 'size=1048576' },
  })
})

test('what is not meant is refused, never left out', () => {
  for (const bad of ['', '80:', '0:0', '70000:80', '53:53/udp', 'a:80'])
    assert.throws(() => parsePort(bad), { code: 'usage' }, bad)
  for (const bad of ['nofile', 'x=1', 'nofile=2:1', 'nofile=-1:5', 'nofile=1e3'])
    assert.throws(() => parseUlimit(bad), { code: 'usage' }, bad)
  for (const bad of ['db', 'db:', 'db:host', 'd b:1.2.3.4', 'db:1.2.3'])
    assert.throws(() => parseHost(bad), { code: 'usage' }, bad)
  for (const bad of [
    'type=bind,src=/a,dst=/b',
    'constructor=1',
    'type=npipe',
    'src=d',
    'type=tmpfs',
    'src=d,dst=/d,ro=x',
  ])
    assert.throws(() => parseMount(bad), { code: 'usage' }, bad)
  assert.throws(() => parseMount('src=d'), { message: 'Mount "src=d": write target=/path, where it is to be' })
})
