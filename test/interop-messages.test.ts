// Messages of ours and of the public daemon, each way and back: MYCELIUM_BIN=FILE names one (0.7.5 or later).
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { run } from '#sys'
import { createNet } from '../bench/overlay/net.ts'

const bin = process.env.MYCELIUM_BIN
const skip = bin ? false : 'set MYCELIUM_BIN to a public Mycelium daemon to run it'
const zos = resolve(import.meta.dirname, '../zos')

test('ours ↔ public: messages of 0 to 300 kB with a topic, waited for and replied to, by both command lines', {
  skip,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-interop-'))
  using net = createNet(['ours', 'public'], [[0, 1]])
  try {
    for (const i of [1, 0]) net.start(i)
    await net.reach(60)
    const file = (name: string) => join(dir, name)
    const inNs = async (i: number, script: string) => {
      const env = { ...process.env, ZOS_MYCELIUM_API: `unix:${net.api(0)}` }
      const all = ['netns', 'exec', net.namespace(i), 'sh', '-c', `cd ${dir} && ${script}`]
      return (await run('ip', all, { env, timeout: 60_000 })).stdout.toString()
    }
    for (const size of [0, 1, 1300, 1301, 300_000]) {
      const bytes = randomBytes(size)
      writeFileSync(file('sent'), bytes)
      const there = inNs(1, `${bin} message receive --topic t${size} --timeout 40 --raw --msg-path got`)
      const sent = await inNs(0, `${zos} mycelium send ${net.addresses[1]} --topic t${size} --timeout 40 < sent`)
      await there
      assert.match(sent, /^[0-9a-f]{16} (received|read)\n$/)
      assert.deepEqual(readFileSync(file('got')), bytes, `${size} bytes to the public daemon`)

      await inNs(1, `${bin} message send ${net.addresses[0]} --topic t${size} --msg-path sent`)
      await inNs(0, `${zos} mycelium receive --topic t${size} --timeout 40 > back`)
      assert.deepEqual(readFileSync(file('back')), bytes, `${size} bytes to ours`)
    }
    // a question of theirs, our answer
    const asked = inNs(1, `${bin} message send ${net.addresses[0]} question --topic q --wait --timeout 40`)
    const question = JSON.parse(await inNs(0, `${zos} mycelium receive --topic q --timeout 40 --json`))
    await inNs(0, `printf answer | ${zos} mycelium send ${question.srcIp} --reply-to ${question.id}`)
    assert.match(await asked, /answer/)
    // a topic of ours only others may send to: theirs is not taken
    const api = `curl -sf --unix-socket ${net.api(0)} -H content-type:application/json http://unix/api/v1/messages/topics`
    await inNs(0, `${api}/${Buffer.from('closed').toString('base64')}/sources -d '{"subnet":"5ff::/64"}'`)
    await inNs(1, `${bin} message send ${net.addresses[0]} no --topic closed`)
    assert.equal(
      await inNs(0, `${zos} mycelium receive --topic closed --timeout 2 2>&1 || true`),
      'zos: no message came\n',
    )
  } finally {
    rmSync(dir, { recursive: true })
  }
})
