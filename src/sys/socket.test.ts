import assert from 'node:assert/strict'
import { isIPv6 } from 'node:net'
import test from 'node:test'
import { ipv6Bytes } from './socket.ts'

test('an IPv6 literal becomes its bytes; what is none is none for Node, too', () => {
  for (const [text, hex] of [
    ['::', '00'.repeat(16)],
    ['5ab:1::FF', `05ab0001${'00'.repeat(11)}ff`],
    ['1:2:3:4:5:6:7::', '0001000200030004000500060007' + '0000'],
    ['::ffff:192.0.2.1', `${'00'.repeat(10)}ffffc0000201`],
  ] as const)
    assert.equal(ipv6Bytes(text)?.toString('hex'), hex)
  const alphabet = '0123456789abcdefAFg::::..%1'
  for (let n = 0; n < 20_000; n++) {
    const random = Array.from({ length: n % 24 }, () => alphabet[Math.floor(Math.random() * alphabet.length)]).join('')
    const text = `${n % 3 ? '' : '::'}${random}${n % 10 ? '' : ':1.2.3.4'}`
    assert.equal(ipv6Bytes(text) !== undefined, isIPv6(text) && !text.includes('%'), text)
  }
})
