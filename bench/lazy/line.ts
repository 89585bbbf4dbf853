// A hub and a registry of their own, each behind a slow line of its own, and what a client takes to nginx's first page.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { CACHE } from '#node'
import { freePort, run, tryRun, until } from '#sys'
import { demoImage } from '../../src/cli/demo/image.ts'
import { startRegistry } from '../../src/cli/demo/registry.ts'
import { type Node, ROOT, startNode } from '../../test/harness.ts'
import { type Link, slowLink } from '../../test/slow-link.ts'
import { podmanFlags, RLIMITS } from '../peer.ts'

/** 30 ms there and back, 100 Mbit/s. */
const LINE = { delay: 15, rate: 12.5e6 }
/** How often a client asks for the page. Milliseconds. */
const EVERY = 20
const PATIENCE = 120_000

/** ACT with the demo's image at a node's hub, which knows from one earlier start what a start reads; templates are warm. */
export async function withImage<T>(act: (node: Node, image: string) => Promise<T>): Promise<T> {
  const image = await demoImage(CACHE, console.error)
  using node = startNode()
  await prepare(node, image)
  return await act(node, image)
}

async function prepare(node: Node, image: string): Promise<void> {
  node.ok(['publish', `oci:${image}:1`, 'web'], { timeout: 600 })
  const port = await freePort()
  node.ok(['run', '-d', '--name', 'first', '-p', `${port}:80`, 'web'], { timeout: 300 })
  await firstPage(() => answers(port))
  const { digest } = node.json<{ digest: string }[]>(['images', '--json'])[0]!
  await until('the trace', 30_000, () => existsSync(join(node.hub, 'traces', digest)))
  node.ok(['rm', '-f', 'first'])
  node.ok(['down'])
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const req = get({ host: '127.0.0.1', port, timeout: 2000 }, (res) => {
      res.resume()
      resolve(res.statusCode === 200)
    })
    req.on('timeout', () => req.destroy())
    req.on('error', () => resolve(false))
  })

const firstPage = (ask: () => Promise<boolean>) => until('the first page', PATIENCE, ask, EVERY)

export type Start = { ms: number; bytes: number }

/** From `zos run` to the first page with an empty chunk store, a hub behind LINE, the daemon up and its template warm. */
export async function startOurs(node: Node): Promise<Start> {
  for (const folder of ['cas', 'traces']) rmSync(join(node.home, folder), { recursive: true, force: true })
  const hubPort = await freePort()
  const hub = spawn(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    join(ROOT, 'src/hub/main.ts'),
    '--dir',
    node.hub,
    '--port',
    String(hubPort),
  ])
  const ended = once(hub, 'exit')
  await using link = await slowLink(hubPort, LINE)
  const env = { ...process.env, ZOS_HOME: node.home, ZOS_HUB: `http://127.0.0.1:${link.port}` }
  const zos = (args: string[]) => run(join(ROOT, 'zos'), args, { env, cwd: node.work, timeout: PATIENCE })
  try {
    const pool = async () => (JSON.parse(String((await zos(['status', '--json'])).stdout)) as { pool: number }).pool
    await until('a warm template', PATIENCE, async () => (await pool()) > 0, 500)
    return await measure(link, async () => {
      const port = await freePort()
      await zos(['run', '-d', '--name', 'site', '-p', `${port}:80`, 'web'])
      await firstPage(() => answers(port))
    })
  } finally {
    await zos(['rm', '-f', 'site']).catch(() => {})
    await zos(['down'])
    hub.kill()
    await ended
  }
}

async function measure(link: Link, act: () => Promise<void>): Promise<Start> {
  const before = link.bytes.down
  const begun = performance.now()
  await act()
  return { ms: performance.now() - begun, bytes: link.bytes.down - before }
}

/** The registry that podman pulls from, with the image in it. */
export async function openRegistry(image: string) {
  const registry = await startRegistry()
  await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${image}:1`, `docker://${registry.host}/nginx:1`])
  return registry
}

/** From `podman pull` to the first page with an empty store, the registry behind LINE. */
export async function startPodman(host: string, dir: string): Promise<Start> {
  mkdirSync(dir)
  await using link = await slowLink(Number(host.split(':')[1]), LINE)
  const podman = (...args: string[]) => run('podman', [...podmanFlags(dir), ...args], { timeout: PATIENCE })
  const image = `127.0.0.1:${link.port}/nginx:1`
  const pidFile = join(dir, 'pid')
  try {
    return await measure(link, async () => {
      await podman('pull', '--quiet', '--tls-verify=false', image)
      await podman('run', '--detach', '--network=none', `--pidfile=${pidFile}`, ...RLIMITS, image)
      const inside = `--net=/proc/${readFileSync(pidFile, 'utf8').trim()}/ns/net`
      const page = () => tryRun('nsenter', [inside, 'curl', '-sf', '-o', '/dev/null', 'http://127.0.0.1/'])
      await firstPage(async () => (await page()).code === 0)
    })
  } finally {
    await podman('rm', '-af', '--time=0').catch(() => {})
    await podman('rmi', '-af').catch(() => {})
    await run('umount', [join(dir, 'root/overlay')]).catch(() => {}) // mounted only where its driver is overlay
    rmSync(dir, { recursive: true, force: true })
  }
}
