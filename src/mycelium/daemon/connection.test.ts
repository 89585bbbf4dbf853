import assert from 'node:assert/strict'
import test from 'node:test'
import { closeFd, socketPair, writeFd } from '#sys'
import { encodeControl } from '../wire/control.ts'
import { type Connection, createConnection, SILENCE_OF_DIALLED } from './connection.ts'
import type { Reactor, Watch } from './reactor.ts'

const hello = encodeControl({ type: 'hello', unicast: true, seqno: 1, interval: 100 })

/** A connection whose other end says what it is told to, by a clock of its own. */
function made(t: test.TestContext, silence?: number) {
  const [ours, theirs] = socketPair('stream')
  t.after(() => closeFd(theirs))
  let ready = () => {}
  const clock = { now: 1_000 }
  const closed: string[] = []
  const reactor = {
    get now() {
      return clock.now
    },
    watch(fd: number, events: number, told: (events: number) => void): Watch {
      const watch = { fd, events, ready: told, closed: false }
      ready = () => told(1)
      return watch
    },
    close(watch: Watch) {
      watch.closed = true
      closeFd(watch.fd)
    },
  } as unknown as Reactor
  const events = {
    message: () => {},
    data: () => {},
    fault: () => {},
    closed: (_one: Connection, reason: string) => closed.push(reason),
  }
  const connection = createConnection(reactor, ours, 1, 'tcp://192.0.2.1:9651', events, silence)
  t.after(() => connection.close('the test ends'))
  const look = (seconds: number) => {
    clock.now += seconds * 1_000
    connection.check(clock.now)
  }
  return {
    closed,
    says(bytes: Buffer) {
      assert.equal(writeFd(theirs, bytes, 0, bytes.length), bytes.length)
      ready()
    },
    /** A look each second. */
    pass(seconds: number) {
      for (let i = 0; i < seconds; i++) look(1)
    },
    sleep: (seconds: number) => look(seconds),
  }
}

test('a peer that has spoken and then says nothing is given up, though its connection stands', (t) => {
  const { says, pass, closed } = made(t)
  for (let i = 0; i < 3; i++) {
    says(hello)
    pass(40)
  }
  assert.deepEqual(closed, [])
  pass(10)
  assert.match(
    closed[0]!,
    /^it has said nothing for 45 s; is that node stopped or cut off, or has this machine another address by now\?$/,
  )
  const dialled = made(t, SILENCE_OF_DIALLED)
  dialled.says(hello)
  dialled.pass(10)
  assert.deepEqual(dialled.closed, [])
  dialled.pass(1)
  assert.match(dialled.closed[0]!, /^it has said nothing for 10 s; /)
})

test('a node that was stopped itself holds nobody to what was said meanwhile', (t) => {
  const { says, pass, sleep, closed } = made(t)
  says(hello)
  says(hello.subarray(0, 5))
  sleep(600)
  pass(5)
  assert.deepEqual(closed, [])
  says(hello.subarray(5))
  sleep(600)
  pass(30)
  says(hello.subarray(0, 5))
  pass(11)
  assert.deepEqual(closed, ['it left a frame unfinished'])
})

test('of what is dialled, the closer reason is told, however late it is looked at', (t) => {
  for (const [said, reason] of [
    [[], 'it said nothing; is something else on that port?'],
    [[hello, hello.subarray(0, 5)], 'it left a frame unfinished'],
  ] as const) {
    const { says, pass, sleep, closed } = made(t, SILENCE_OF_DIALLED)
    for (const bytes of said) says(bytes)
    pass(8)
    sleep(4)
    assert.deepEqual(closed, [reason])
  }
})
