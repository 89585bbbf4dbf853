// A relayer as it runs: a real chain by its RPC, two nodes of the overlay beside it, words as messages.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  createFarm,
  deployContracts,
  formatWord,
  keyOf,
  openEmbedded,
  openGrid,
  openRelayer,
  parseAnswer,
  readNode,
  registerNode,
  type SignedWord,
  signBeat,
  WORDS_TOPIC,
} from '#contract'
import { Daemon, identityOf, parseEndpoint } from '#mycelium'
import { freePort, until } from '#sys'
import { relayWords } from './words.ts'

const [node, owner] = ['node', 'owner'].map((name) => keyOf(name, Buffer.alloc(32, name))) as [
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
]
const capacity = { cpu: 4000, ram: 4096, ssd: 4096, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 }
const topic = Buffer.from(WORDS_TOPIC)

test('words that come as messages are posted and answered; strangers and other topics get nothing; a relayer that was away catches up', {
  timeout: 180_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'zos-words-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const engine = stack.use(await openEmbedded({ dir: join(dir, 'chain') }))
  const socket = join(dir, 'rpc.sock')
  await engine.serve({ socket })
  const { contract, since } = await deployContracts(engine, openRelayer())
  const grid = openGrid(engine, contract, { since })
  const [relaySecret, nodeSecret, strangerSecret] = [randomBytes(32), randomBytes(32), randomBytes(32)]
  const farm = await createFarm(grid, openRelayer(), owner.address, 'home')
  const attributes = { overlay: identityOf(nodeSecret).publicKey.toString('hex') }
  const { id } = await registerNode(grid, openRelayer(), { node, owner }, { farm, capacity, country: 'DE', attributes })

  const port = await freePort()
  const endpoint = parseEndpoint(`tcp://127.0.0.1:${port}`)
  const spool = join(dir, 'relay')
  const relay = stack.use(await Daemon.start({ secret: relaySecret, listen: [endpoint], peers: [], messages: spool }))
  const joined = async (secret: Buffer, name: string) =>
    stack.use(await Daemon.start({ secret, listen: [], peers: [endpoint], messages: join(dir, name) }))
  const [far, stranger] = [await joined(nodeSecret, 'node'), await joined(strangerSecret, 'stranger')]
  const to = identityOf(relaySecret).address
  const file = join(dir, 'grid.json')
  const facts = {
    chainId: engine.chainId,
    genesis: engine.genesis,
    contract,
    since: Number(since),
    rpc: [`unix:${socket}`],
  }
  await writeFile(file, JSON.stringify(facts))

  let time = Math.floor(Date.now() / 1000) - 100
  const next = (): SignedWord => {
    const { signature, ...beat } = signBeat(grid, node, id, ++time)
    return { beat, signature }
  }
  const say = (by: Daemon, data: Buffer, about = topic) => by.messages!.push({ to, topic: about, data })
  const answer = async (by: Daemon, message: string, timeout = 20_000) => {
    const reply = await by.messages!.take({ replyTo: message }, { peek: false, timeout })
    return reply && parseAnswer(reply.payload)
  }
  /** The node's last word is on the chain, as the answer says, unless loaded cores took longer than the relayer waits to give one. */
  const isPosted = async (message: string) => {
    const said = await answer(far, message)
    assert.ok(said?.state === 'posted' || said?.state === 'waiting', JSON.stringify(said))
    if (said.state === 'waiting')
      await until('it to be on the chain', 60_000, async () => (await readNode(grid, id))!.seen === time)
    assert.equal((await readNode(grid, id))!.seen, time)
  }

  const first = new AbortController()
  stack.defer(() => first.abort())
  const lines: string[] = []
  await relayWords(relay.messages!, file, (line) => lines.push(line), first.signal)
  assert.match(lines[0]!, /^words of nodes are posted by 0x[0-9a-fA-F]{40}$/)
  await isPosted(say(far, formatWord(next())))
  const junk = await answer(far, say(far, randomBytes(5_000)))
  assert.equal(junk?.state === 'refused' && junk.code, 'bad-word')

  const lost = [say(stranger, formatWord(next())), say(far, Buffer.from('x'), Buffer.from('news'))]
  time--
  await isPosted(say(far, formatWord(next())))
  await until('the other topic to be refused', 20_000, () => relay.messages!.counters['sender-refused']! > 0)
  await until('the word of a stranger to be taken', 20_000, () => stranger.messages!.status(lost[0]!)?.state === 'read')
  assert.equal(await answer(stranger, lost[0]!, 200), undefined)

  // away: what was said meanwhile lies on its disk
  first.abort()
  const late = say(far, formatWord(next()))
  await until('the word to be kept', 20_000, () => far.messages!.status(late)?.state === 'received')
  assert.equal((await readdir(spool)).filter((name) => name.endsWith('.message')).length, 1)
  assert.equal(await answer(far, late, 200), undefined)
  // nor is a stranger told that it waits, by one that asks the chain first who that is
  const foreign = say(stranger, formatWord(next()))
  time--
  await until('that word to be kept', 20_000, () => stranger.messages!.status(foreign)?.state === 'received')
  const second = new AbortController()
  stack.defer(() => second.abort())
  await relayWords(relay.messages!, file, () => {}, second.signal, 1)
  await isPosted(late)
  assert.equal(await answer(stranger, foreign, 1_000), undefined)
  assert.deepEqual(await readdir(spool), [])
})
