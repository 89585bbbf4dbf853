import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { ZosError } from '#codec'
import { CACHE } from '#node'
import { run as runProgram, until } from '#sys'
import type { ImageView, WorkloadView } from '#wire'
import { daemonCall } from './daemon.ts'
import { compressedLayerBytes, DEMO_PAGE, demoImage } from './demo/image.ts'
import { startRegistry } from './demo/registry.ts'
import { parseFlags } from './flags.ts'
import { ensureNodeSetup } from './setup/index.ts'
import { bytesText, table } from './terminal.ts'

const ZOS = resolve(import.meta.dirname, '../../zos')
const NAME = 'hello'
const IMAGE = 'hello-nginx'

type Step = { what: string; ms: number; note: string }

/** Runs ./zos as a person would; its output goes where ours goes unless it is asked for. */
function zos(args: string[], capture = false): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(ZOS, args, { stdio: ['ignore', capture ? 'pipe' : 'inherit', 'inherit'] })
    let out = ''
    child.stdout?.setEncoding('utf8').on('data', (d: string) => {
      out += d
    })
    child.on('error', fail)
    child.on('close', (code) => {
      if (code === 0) done(out)
      else fail(new ZosError(`Run "zos ${args.join(' ')}": exit ${code}`, { code: 'step-failed', kind: 'node' }))
    })
  })
}

const fetchPage = (url: string) =>
  fetch(url, { signal: AbortSignal.timeout(2000) }).then(
    (r) => r.text(),
    () => undefined,
  )

/** The main job: a real Debian image, pulled from a real registry, in a microVM of its own. */
export default async function start(args: string[]): Promise<number> {
  const { flags } = parseFlags('start', args, {
    once: { kind: 'switch', about: 'end when all of it was shown' },
    yes: { kind: 'switch', short: 'y', about: 'install what is missing without asking' },
    port: { kind: 'value', short: 'p', about: 'where the page is served' },
  })
  const say = (line: string) => process.stderr.write(`zos: ${line}\n`)
  const steps: Step[] = []
  const timed = async <T>(what: string, act: () => Promise<T>, note: (value: T) => string = () => ''): Promise<T> => {
    const begun = performance.now()
    const value = await act()
    steps.push({ what, ms: performance.now() - begun, note: note(value) })
    return value
  }

  await timed(
    'set up',
    () => ensureNodeSetup({ yes: flags.yes, purposes: ['run', 'demo'] }),
    (g) => `guest kernel ${g.kernel.version}`,
  )
  const image = await timed(
    'image',
    () => demoImage(CACHE, say),
    (dir) => `Debian with nginx, ${bytesText(compressedLayerBytes(dir))} compressed`,
  )

  await zos(['rm', '-f', NAME], true).catch(() => {}) // of an earlier run
  {
    await using registry = await startRegistry()
    const reference = `${registry.host}/nginx:1`
    await timed(
      'push',
      () =>
        runProgram(
          'skopeo',
          ['copy', '--quiet', '--dest-tls-verify=false', `oci:${image}:1`, `docker://${reference}`],
          { timeout: 300_000 },
        ),
      () => `to docker-registry at ${registry.host}`,
    )
    await timed('publish', () => zos(['publish', `docker://${reference}`, IMAGE]))
    await timed(
      'publish again',
      () => zos(['publish', `docker://${reference}`, IMAGE]),
      () => 'all of it was there: nothing stored twice',
    )
  }
  const [published] = (JSON.parse(await zos(['images', '--json'], true)) as ImageView[]).filter((i) => i.name === IMAGE)

  const port = Number(flags.port ?? 8080)
  const url = `http://127.0.0.1:${port}/`
  await timed(
    'start',
    () => zos(['run', '-d', '--name', NAME, '-p', `${port}:80`, IMAGE], true),
    () => 'a microVM of its own: restored, disk checked, nginx started',
  )
  const page = await timed(
    'first page',
    () => until(`nginx to answer at ${url}`, 60_000, () => fetchPage(url), 20),
    () => url,
  )
  if (page !== DEMO_PAGE)
    throw new ZosError(`Fetch "${url}": the page is not the one that was published: ${page.slice(0, 80)}`, {
      code: 'wrong-page',
      kind: 'bug',
    })

  const all = await daemonCall<WorkloadView[]>('GET', '/workloads')
  const workload = all.find((w) => w.name === NAME)
  if (workload?.state !== 'running')
    throw new ZosError(`Run "${NAME}": it is ${workload?.state ?? 'gone'}: ${workload?.reason}`, {
      code: 'not-running',
      kind: 'bug',
    })
  const guest = (await zos(['exec', NAME, 'uname', '-r'], true)).trim()
  const report = await daemonCall<{
    export: { files: number; checkedBytes: number; fetchedBytes: number; errors: number }
    host: { memory: number }
  }>('GET', `/workloads/${workload.id}/report`)

  process.stdout.write(
    `\n${table(
      ['STEP', 'SECONDS', ''],
      steps.map((s) => [s.what, (s.ms / 1000).toFixed(2), s.note]),
    )}\n`,
  )
  const layerBytes = compressedLayerBytes(image)
  process.stdout.write(
    `guest kernel     ${guest} (this machine runs ${(await import('node:os')).release()})\n` +
      `image            ${bytesText(published!.size)}; layers ${bytesText(layerBytes)} compressed\n` +
      `read from disk   ${bytesText(report.export.fetchedBytes)} of it until the page came (${((100 * report.export.fetchedBytes) / published!.size).toFixed(1)} %)\n` +
      `checked          ${report.export.files} files of the start, ${bytesText(report.export.checkedBytes)}, before nginx ran; the rest as it is read\n` +
      `memory           ${bytesText(report.host.memory)} of this machine for a ${bytesText(workload.memory)} workload\n`,
  )
  if (flags.once) {
    await zos(['rm', '-f', NAME], true)
    await zos(['down'])
    process.stdout.write('\nall of it held\n')
    return 0
  }
  process.stdout.write(
    `\nOpen ${url}\n\nTry next:\n` +
      `  ./zos ps\n  ./zos logs ${NAME}\n  ./zos exec -it ${NAME} bash\n  ./zos run --rm ${IMAGE} uname -r\n  ./zos down\n`,
  )
  return 0
}
