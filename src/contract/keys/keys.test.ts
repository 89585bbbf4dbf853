import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { privateKeyToAccount } from 'viem/accounts'
import { signedBy, signerOf } from '../typed/passkey.ts'
import { recoverSigner } from '../typed/recover.ts'
import { listKeys, newKey, openKey } from './keys.ts'

const cheap = { cost: { N: 1 << 10, r: 8, p: 1 } }

test('a key is kept encrypted, opens with its passphrase alone, and signs as its address', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-keys-'))
  try {
    const made = await newKey(dir, 'alice', 'correct horse', cheap)
    const file = join(dir, 'alice.json')
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    const text = await readFile(file, 'utf8')
    assert.equal(text.includes(Buffer.from(made.secret).toString('hex')), false)
    const opened = await openKey(dir, 'alice', 'correct horse')
    assert.deepEqual([opened.address, opened.seal], [made.address, made.seal])
    const digest = `0x${'5a'.repeat(32)}` as const
    assert.equal(recoverSigner(digest, opened.sign(digest)), opened.address)
    assert.equal(
      privateKeyToAccount(`0x${Buffer.from(made.secret).toString('hex')}`).address.toLowerCase(),
      made.address,
    )
    await assert.rejects(openKey(dir, 'alice', 'wrong'), {
      code: 'wrong-passphrase',
      message: 'Open key "alice": wrong passphrase',
    })
    await assert.rejects(openKey(dir, 'bob', 'x'), { code: 'no-key' })
    await assert.rejects(newKey(dir, 'alice', 'x', cheap), { code: 'key-exists' })
    // two at once: what one of them was told it made is not replaced by the other's
    const both = await Promise.allSettled([1, 2].map(() => newKey(dir, 'zoe', 'x', cheap)))
    assert.deepEqual(both.map((b) => b.status === 'rejected' && b.reason.code).sort(), [false, 'key-exists'].sort())
    const zoe = both.find((b) => b.status === 'fulfilled')!.value
    assert.equal((await openKey(dir, 'zoe', 'x')).address, zoe.address)
    assert.deepEqual((await readdir(dir)).sort(), ['alice.json', 'zoe.json'])
    await rm(join(dir, 'zoe.json'))
    await assert.rejects(newKey(dir, 'b', '', cheap), { code: 'no-passphrase' })
    await assert.rejects(newKey(dir, '../x', 'x', cheap), { code: 'bad-key-name' })
    assert.deepEqual(await listKeys(dir), [{ name: 'alice', address: made.address, seal: made.seal }])
    assert.deepEqual(await listKeys(join(dir, 'nowhere')), [])
    // brought here under another name: the passphrase is right, and is not called wrong
    await writeFile(join(dir, 'al.json'), text)
    const renamed = { code: 'key-damaged', message: /al\.json" holds key "alice", which opens under that name alone/ }
    await assert.rejects(openKey(dir, 'al', 'correct horse'), renamed)
    const left: string[] = []
    assert.equal((await listKeys(dir, (why) => left.push(why.message))).length, 1)
    assert.match(left.join('\n'), renamed.message)
    await rm(join(dir, 'al.json'))
    // the address is bound to the box: a file that claims another one does not open
    await writeFile(file, text.replace(made.address, `0x${'11'.repeat(20)}`))
    await assert.rejects(openKey(dir, 'alice', 'correct horse'), { code: 'wrong-passphrase' })
    for (let i = 0; i < text.length; i += 13) {
      await writeFile(file, text.slice(0, i))
      await assert.rejects(openKey(dir, 'alice', 'correct horse'), { code: 'key-damaged' })
    }
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('a passkey is kept the same way, and signs as an authenticator does', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-keys-'))
  const domain = { chainId: 1, contract: `0x${'c0'.repeat(20)}` } as const
  const digest = `0x${'5a'.repeat(32)}` as const
  try {
    const made = await newKey(dir, 'pass', 'correct horse', { ...cheap, passkey: true })
    const opened = await openKey(dir, 'pass', 'correct horse')
    assert.match(made.address, /^0x[0-9a-f]{128}$/)
    assert.deepEqual([opened.address, opened.seal], [made.address, made.seal])
    assert.ok(signedBy(domain, signerOf(domain, made.address), digest, opened.sign(digest)))
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('only the strict form of a signature counts', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-keys-'))
  const k = await newKey(dir, 'a', 'p', cheap)
  await rm(dir, { recursive: true })
  const digest = `0x${'5a'.repeat(32)}` as const
  const good = k.sign(digest)
  const n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
  const s = BigInt(`0x${good.slice(66, 130)}`)
  const v = Number.parseInt(good.slice(130), 16)
  const high = `${good.slice(0, 66)}${(n - s).toString(16).padStart(64, '0')}${(55 - v).toString(16)}` as `0x${string}`
  assert.equal(recoverSigner(digest, high), undefined, 'the high-s twin')
  assert.equal(recoverSigner(digest, `${good.slice(0, 130)}00` as `0x${string}`), undefined, 'v of 0')
  for (let i = 2; i < good.length; i += 2)
    assert.equal(recoverSigner(digest, good.slice(0, i) as `0x${string}`), undefined)
})
