import assert from 'node:assert/strict'
import test from 'node:test'
import { signalNumber } from '../src/vm/agent/signals.ts'
import { exitStatus } from './status.ts'
import { completeEnv, resolveUser } from './users.ts'

const passwd = 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n# no\n7777:x:42:43::/odd:/bin/sh\n'
const group = 'root:x:0:\nwheel:x:10:bob,ann\nbob:x:1000:\nmail:x:8:bob\n'

test('a user, a group and what is added to them are resolved as Docker does', () => {
  const of = (user: string, add: string[] = []) => resolveUser(user, passwd, group, add)
  assert.deepEqual(of(''), { uid: 0, gid: 0, groups: [0], home: '/root' })
  assert.deepEqual(of('bob'), { uid: 1000, gid: 1000, groups: [1000, 10, 8], home: '/home/bob' })
  assert.deepEqual(of('1000'), { uid: 1000, gid: 1000, groups: [1000, 10, 8], home: '/home/bob' })
  // an explicit group replaces the primary one and suppresses the others
  assert.deepEqual(of('bob:wheel'), { uid: 1000, gid: 10, groups: [10], home: '/home/bob' })
  assert.deepEqual(of('7:10'), { uid: 7, gid: 10, groups: [10], home: '/' })
  assert.deepEqual(of('123'), { uid: 123, gid: 0, groups: [0], home: '/' })
  // a number is an id even where a user has that name
  assert.equal(of('7777').uid, 7777)
  assert.deepEqual(of('bob', ['44', 'root']).groups, [1000, 10, 8, 44, 0])
  assert.throws(() => of('eve'), /unable to find user eve/)
  assert.throws(() => of('bob:eve'), /unable to find group eve/)
  assert.throws(() => of('4294967296'), /range/)
  assert.deepEqual(resolveUser('', '', ''), { uid: 0, gid: 0, groups: [0], home: '/' })
})

test('the environment gets what Docker adds, and no name twice', () => {
  const env = completeEnv(['A=1', 'PATH=/x', 'A=2', 'B=', 'broken'], '/home/bob', 'h', true)
  assert.deepEqual(env.sort(), ['A=2', 'B=', 'HOME=/home/bob', 'HOSTNAME=h', 'PATH=/x', 'TERM=xterm'])
})

test('signals have their numbers by any name Docker takes, and an exit is told as Docker tells it', () => {
  const numbers = ['TERM', 'SIGKILL', '9', 'hup', 'RTMIN+3', 'RTMAX', 'NOPE', '', '0', '65', 'SIGRTMAX-1'].map(
    signalNumber,
  )
  assert.deepEqual(numbers, [15, 9, 9, 1, 37, 64, 0, 0, 0, 0, 63])
  assert.deepEqual(exitStatus(3 << 8, false), { code: 3, signal: null, oom: false, reason: 'exit code 3' })
  assert.deepEqual(exitStatus(9, true), { code: 137, signal: 'KILL', oom: true, reason: 'out of memory' })
  assert.equal(exitStatus(0x80 | 11, false).reason, 'killed by SIGSEGV')
})
