import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { reasonOf, sha256Hex, ZosError } from '#codec'
import { run, tryRun, writeAtomic } from '#sys'
import { ask } from '../terminal.ts'

export type Need = { package: string; why: string; for: 'run' | 'demo' | 'test' }

/** Debian packages the product uses, and which part of it. */
const NEEDS: readonly Need[] = [
  { package: 'qemu-system-x86', why: 'runs each workload in its own microVM', for: 'run' },
  { package: 'skopeo', why: 'reads images from registries and archives', for: 'run' },
  { package: 'e2fsprogs', why: 'makes the file systems of volumes', for: 'run' },
  { package: 'kmod', why: "depmod, which indexes the guest kernel's modules", for: 'run' },
  { package: 'xz-utils', why: "unpacks the guest kernel's modules", for: 'run' },
  { package: 'musl-tools', why: 'builds zinit, PID 1 of every microVM', for: 'run' },
  { package: 'gcc', why: 'the compiler behind musl-tools, with its assembler', for: 'run' },
  { package: 'passt', why: 'the way to the Internet of workloads that may go there', for: 'run' },
  { package: 'docker-registry', why: 'the registry that `npm start` pulls its image from', for: 'demo' },
  { package: 'mmdebstrap', why: 'makes the Debian image that `npm start` runs', for: 'demo' },
  { package: 'busybox-static', why: 'a small static root for tests', for: 'test' },
  { package: 'file', why: 'fixtures of the outside checks', for: 'test' },
  { package: 'erofs-utils', why: 'fsck.erofs, the oracle of our EROFS writer', for: 'test' },
  { package: 'cryptsetup-bin', why: 'veritysetup, the oracle of our hash trees', for: 'test' },
  { package: 'fsverity', why: 'the oracle of file fingerprints', for: 'test' },
  { package: 'libnbd-bin', why: 'nbdinfo and nbdcopy, oracles of our NBD server', for: 'test' },
  { package: 'qemu-utils', why: 'qemu-img compare, oracle of our NBD server', for: 'test' },
  { package: 'iproute2', why: 'network namespaces of the overlay tests', for: 'test' },
  { package: 'iputils-ping', why: 'ping through the overlay', for: 'test' },
  { package: 'tcpdump', why: 'captures of the overlay tests', for: 'test' },
  { package: 'python3-minimal', why: 'the second reader of zfl/1', for: 'test' },
]

/** Which of NEEDS for these purposes are not installed. */
export async function missingPackages(purposes: readonly Need['for'][]): Promise<Need[]> {
  const wanted = NEEDS.filter((n) => purposes.includes(n.for))
  const { stdout } = await tryRun('dpkg-query', [
    '-W',
    '-f',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own placeholders
    '${Package} ${db:Status-Status}\n',
    ...wanted.map((n) => n.package),
  ])
  const installed = new Set(
    stdout
      .toString()
      .split('\n')
      .filter((l) => l.endsWith(' installed'))
      .map((l) => l.split(' ')[0]),
  )
  return wanted.filter((n) => !installed.has(n.package))
}

const INSTALL = ['install', '-y', '--no-install-recommends', '-o', 'Dpkg::Use-Pty=0']

/** What apt says it would fetch and unpack, as it says it; undefined when apt cannot tell. */
async function sizeOf(names: string[]): Promise<string | undefined> {
  const said = await tryRun('apt-get', ['install', '--assume-no', '--no-install-recommends', ...names], {
    env: { ...process.env, LC_ALL: 'C' },
  })
  const text = said.stdout.toString()
  const lines = [/^Need to get .*$/m, /^After this operation.*$/m].map((r) => r.exec(text)?.[0])
  return lines[0] ? lines.filter(Boolean).join(' ') : undefined
}

/**
 * Installs what is missing with apt. Asks on a terminal; goes ahead with `yes`, under CI, or as root without a terminal;
 * otherwise throws with the one line to run.
 */
export async function ensurePackages(
  purposes: readonly Need['for'][],
  options: { yes: boolean; say: (line: string) => void },
): Promise<void> {
  const missing = await missingPackages(purposes)
  if (missing.length === 0) return
  const names = missing.map((n) => n.package)
  const root = process.getuid?.() === 0
  const line = `${root ? '' : 'sudo '}apt-get install -y --no-install-recommends ${names.join(' ')}`
  if (!root)
    throw new ZosError(`Set up: Debian packages are missing; run: ${line}`, {
      code: 'packages-missing',
      details: { names },
    })
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }
  let size = await sizeOf(names)
  if (!size) {
    options.say('apt-get update (package lists are missing or old)')
    await run('apt-get', ['update', '-q'], { env, timeout: 300_000 })
    size = await sizeOf(names)
  }
  options.say('Debian packages to install:')
  for (const n of missing) options.say(`  ${n.package.padEnd(18)} ${n.why}`)
  if (size) options.say(`  ${size}`)
  const consent = options.yes || Boolean(process.env.CI) || !process.stdin.isTTY || (await ask('Install them now?'))
  if (!consent)
    throw new ZosError(`Set up: Debian packages are missing; run: ${line}`, {
      code: 'packages-missing',
      details: { names },
    })
  try {
    await run('apt-get', [...INSTALL, ...names], { env, timeout: 1_800_000, onLine: options.say })
  } catch (cause) {
    // lists older than the archive name files that are gone: fetch them anew, once
    options.say(`apt-get update (${reasonOf(cause)})`)
    await run('apt-get', ['update', '-q'], { env, timeout: 300_000 })
    await run('apt-get', [...INSTALL, ...names], { env, timeout: 1_800_000, onLine: options.say })
  }
}

/** dpkg's database: written anew, as another file, with each package that comes or goes. */
const DATABASE = '/var/lib/dpkg/status'

/** As `ensurePackages`, but asking dpkg costs 30 ms: what it said is kept in DIR, for as long as its database stays as it was. */
export async function ensurePackagesOnce(
  dir: string,
  purposes: readonly Need['for'][],
  options: { yes: boolean; say: (line: string) => void },
  database = DATABASE,
): Promise<void> {
  const names = NEEDS.filter((n) => purposes.includes(n.for)).map((n) => n.package)
  const stamp = join(dir, `packages-${sha256Hex(Buffer.from(names.join(' '))).slice(0, 16)}`)
  // a cache that was carried to another machine finds another database there
  const state = () => {
    const { ino, mtimeNs } = statSync(database, { bigint: true, throwIfNoEntry: false }) ?? {}
    return `${ino} ${mtimeNs}\n`
  }
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === state()) return
  await ensurePackages(purposes, options)
  // in a checkout of somebody else's dpkg is asked each time
  await writeAtomic(stamp, state(), { sync: false }).catch(() => {})
}
