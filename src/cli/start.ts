import { release } from 'node:os'
import { ZosError } from '#codec'
import { CACHE } from '#node'
import { freePort, run as runProgram, until } from '#sys'
import { approve, foundTeam, propose, pulled, reportOf, running } from './demo/consent.ts'
import { type DemoHome, openDemoHome } from './demo/home.ts'
import { compressedLayerBytes, DEMO_PAGE, demoImage } from './demo/image.ts'
import { startRegistry } from './demo/registry.ts'
import { type Timeline, timeline } from './demo/timeline.ts'
import { parseFlags } from './flags.ts'
import { ensureNodeSetup } from './setup/index.ts'
import { bytesText } from './terminal.ts'

const NAME = 'hello'
const IMAGE = 'hello-nginx'
const NODES = 3

type Published = { size: number; chunks: number; newChunks: number; newBytes: number }

const fetchPage = (url: string) =>
  fetch(url, { signal: AbortSignal.timeout(2000) }).then(
    (r) => r.text(),
    () => undefined,
  )

/** From a Docker registry into ZOS FS, twice: the second time nothing is new. */
async function publish({ zos }: DemoHome, at: Timeline, image: string): Promise<Published> {
  await using registry = await startRegistry()
  const reference = `docker://${registry.host}/nginx:1`
  await at.step(
    'push',
    () =>
      runProgram('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `oci:${image}:1`, reference], {
        timeout: 300_000,
      }),
    () => `to docker-registry at ${registry.host}`,
  )
  const once = async () => JSON.parse(await zos(['publish', reference, IMAGE, '--json'])) as Published
  const stored = (p: Published) => `${p.newChunks} of ${p.chunks} chunks were new: ${bytesText(p.newBytes)} stored`
  await at.step('publish', once, stored)
  const again = await at.step('dedupe', once, (p) => `published again: ${stored(p)}`)
  if (again.newChunks > 0)
    throw new ZosError(`Publish "${IMAGE}" again: ${stored(again)}`, { code: 'stored-twice', kind: 'bug' })
  return again
}

/** Three of a group agree on a deployment by two; a node pulls, verifies and runs it. Gives where. */
async function deploy(demo: DemoHome, at: Timeline) {
  await at.step(
    'grid up',
    () => demo.zos(['grid', 'up', '--nodes', String(NODES)]),
    () => `a chain, a hub, ${NODES} nodes of four planes each; nobody connects to a node`,
  )
  await at.step(
    'group',
    () => foundTeam(demo),
    () => 'alice, bob and carol, each with a key; two of three decide',
  )
  const id = await at.step(
    'proposed',
    () => propose(demo, NAME, IMAGE),
    () => 'by alice; one approval is not enough',
  )
  await at.step(
    'agreed',
    () => approve(demo, id),
    () => 'bob approved: 2 of 3',
  )
  await at.step(
    'pulled',
    () => pulled(NAME),
    (node) => `${node} verified the signatures itself`,
  )
  return at.step(
    'running',
    () => running(demo, NAME),
    (slot) => `in a microVM of its own on ${slot.node} (${slot.farm}, ${slot.country})`,
  )
}

/** The main job: a real Debian image, agreed on by two of three, pulled and run by a node in a microVM of its own. */
export default async function start(args: string[]): Promise<number> {
  const { flags } = parseFlags('start', args, {
    once: { kind: 'switch', about: 'end when all of it was shown' },
    yes: { kind: 'switch', short: 'y', about: 'install what is missing without asking' },
    port: { kind: 'value', short: 'p', about: 'where the page is served' },
  })
  if (!/^\d{1,5}$/.test(flags.port ?? '0') || Number(flags.port ?? 0) > 65535)
    throw new ZosError(`zos start: --port "${flags.port}" is no port`, { code: 'usage' })
  const say = (line: string) => process.stderr.write(`zos: ${line}\n`)
  const at = timeline()
  const guest = await at.step(
    'set up',
    () => ensureNodeSetup({ yes: flags.yes, purposes: ['run', 'demo'] }),
    (g) => `guest kernel ${g.kernel.version}`,
  )
  const image = await at.step(
    'image',
    () => demoImage(CACHE, say),
    (dir) => `Debian with nginx, ${bytesText(compressedLayerBytes(dir))} compressed`,
  )
  await using demo = await openDemoHome()
  const published = await publish(demo, at, image)
  const slot = await deploy(demo, at)
  const port = flags.port === undefined ? await freePort(8080) : Number(flags.port)
  const url = `http://127.0.0.1:${port}/`
  demo.background(['forward', `${NAME}/0`, `${port}:80`])
  const page = await at.step(
    'first byte',
    () => until(`nginx to answer at ${url}`, 60_000, () => fetchPage(url), 20),
    () => url,
  )
  if (page !== DEMO_PAGE)
    throw new ZosError(`Fetch "${url}": the page is not the one that was published: ${page.slice(0, 80)}`, {
      code: 'wrong-page',
      kind: 'bug',
    })
  const report = await reportOf(slot.node)
  const { fetchedBytes, files, checkedBytes } = report.export
  process.stdout.write(
    `\n${at.text()}\n` +
      `guest kernel     ${guest.kernel.version} (this machine runs ${release()})\n` +
      `image            ${bytesText(published.size)}; layers ${bytesText(compressedLayerBytes(image))} compressed\n` +
      `read by the node ${bytesText(fetchedBytes)} of it until the page came (${((100 * fetchedBytes) / published.size).toFixed(1)} %)\n` +
      `checked          ${files} files of the start, ${bytesText(checkedBytes)}, before nginx ran; the rest as it is read\n` +
      `memory           ${bytesText(report.host.memory)} of this machine for a 128 MiB workload\n`,
  )
  if (flags.once) {
    await demo[Symbol.asyncDispose]()
    process.stdout.write('\nall of it held\n')
    return 0
  }
  process.stdout.write(
    `\nOpen ${url}   (it stays up until Ctrl-C)\n\nTry in another terminal:\n  ${demo.exports}\n` +
      `  ./zos grid status\n  ./zos status ${NAME}\n  ./zos freeze ${NAME} --as carol     # any one member stops it\n` +
      `  ./zos thaw ${NAME} --as alice       # two let it run again: ./zos proposals, ./zos approve P --as bob\n` +
      `  ./zos log ${NAME}\n`,
  )
  // awaited here: without it `await using` would end the demo before the promise is waited for
  return await demo.stay()
}
