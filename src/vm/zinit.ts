import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { codeOf, reasonOf, sha256Hex, ZosError } from '#codec'
import { byContent, filesBelow, run, withScratch, writeAtomic } from '#sys'
import { archivesOf, debianCodename } from './apt.ts'

/** Debian's source package `quickjs` of trixie (bookworm has none); the same file for every release that carries it. */
const QUICKJS = {
  version: '2025-04-26',
  path: 'pool/main/q/quickjs/quickjs_2025.04.26.orig.tar.xz',
  sha256: 'ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe',
} as const
const OBJECTS = ['quickjs', 'libregexp', 'libunicode', 'cutils', 'dtoa'] as const
const CC = 'musl-gcc'
const FLAGS = ['-O2', '-ffunction-sections', '-fdata-sections', '-fno-asynchronous-unwind-tables', '-D_GNU_SOURCE']

const root = resolve(import.meta.dirname, '../..')
const guest = join(root, 'guest')

export type BuildOptions = { cacheDir: string; onProgress?: (line: string) => void; signal?: AbortSignal }

/**
 * PID 1 of the microVMs as a static binary: cacheDir/zinit/KEY/zinit, KEY over all sources and flags. The first build takes
 * about 20 s (QuickJS, from Debian's source package, once), later ones 1 s, a re-run only looks at file times.
 * Throws code `zinit-failed` or `program-missing` (musl-tools).
 */
export async function ensureZinit(options: BuildOptions): Promise<{ path: string; key: string }> {
  const dir = join(options.cacheDir, 'zinit')
  const sources = [
    ...filesBelow(guest, ['.ts', '.c', '.h']),
    // of the agent's folder only what the guest bundles: the rest may change without new templates
    ...['protocol.ts', 'signals.ts', 'utf8.ts'].map((name) => join(root, 'src/vm/agent', name)),
    import.meta.filename,
  ]
  const key = await byContent(dir, sources, process.arch, (name) => build(dir, name, options))
  return { path: join(dir, key, 'zinit'), key }
}

async function build(dir: string, key: string, options: BuildOptions): Promise<void> {
  const quickjs = await ensureQuickjs(dir, options)
  options.onProgress?.('zinit: compiling')
  const out = join(dir, `${key}.${randomBytes(4).toString('hex')}.tmp`)
  await withScratch(out, async () => {
    const { build: bundle } = await import('esbuild')
    const { outputFiles } = await bundle({
      entryPoints: [join(guest, 'main.ts')],
      bundle: true,
      format: 'iife',
      target: 'es2022',
      platform: 'neutral',
      minify: true,
      // names make a stack trace on the console of use
      minifyIdentifiers: false,
      write: false,
      logLevel: 'silent',
    })
    const compiled = await run(join(quickjs, 'compile'), [], { input: outputFiles[0]!.contents })
    await writeAtomic(join(out, 'program.c'), compiled.stdout, { sync: false })
    const inputs = [join(guest, 'c/native.c'), join(guest, 'c/main.c'), join(out, 'program.c')]
    await compile(
      [
        ...FLAGS,
        `-I${quickjs}`,
        '-static',
        '-s',
        '-Wl,--gc-sections',
        ...inputs,
        ...OBJECTS.map((o) => join(quickjs, `${o}.o`)),
        '-lm',
        '-o',
        join(out, 'zinit'),
      ],
      options,
    )
    await rm(join(out, 'program.c'))
    await publish(out, join(dir, key))
  })
}

/** Milliseconds. A compiler needs half a minute of one core, on a busy machine many times that; only one that hangs is ended. */
const LIMIT = 1_200_000

async function compile(args: string[], options: BuildOptions): Promise<void> {
  try {
    await run(CC, args, { timeout: LIMIT, ...(options.signal ? { signal: options.signal } : {}) })
  } catch (error) {
    if (codeOf(error) === 'program-missing') throw error
    throw new ZosError(`Build zinit: ${reasonOf(error)}`, { code: 'zinit-failed', kind: 'node', cause: error })
  }
}

/** A folder becomes visible whole; whoever was quicker made the same. */
async function publish(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error) => {
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error
  })
}

/** Objects, headers and the bytecode compiler; kept apart, because our own sources change more often. */
async function ensureQuickjs(dir: string, options: BuildOptions): Promise<string> {
  const facts = [QUICKJS.sha256, process.arch, ...FLAGS].join(' ')
  const made = join(dir, `quickjs-${sha256Hex(Buffer.from(facts)).slice(0, 16)}`)
  if (existsSync(made)) return made
  const work = join(dir, `quickjs.${randomBytes(4).toString('hex')}.tmp`)
  return withScratch(work, async () => {
    const archive = join(work, 'quickjs.tar.xz')
    options.onProgress?.(`zinit: fetching QuickJS ${QUICKJS.version} from the machine's Debian archive`)
    await fetchSource(archive)
    const src = join(work, 'src')
    await mkdir(src)
    await run('tar', ['-xf', archive, '-C', src, '--strip-components=1'])
    for (const [n, object] of OBJECTS.entries()) {
      options.onProgress?.(`zinit: compiling QuickJS (${n + 1} of ${OBJECTS.length})`)
      await compile(
        [
          ...FLAGS,
          `-DCONFIG_VERSION="${QUICKJS.version}"`,
          '-c',
          join(src, `${object}.c`),
          '-o',
          join(src, `${object}.o`),
        ],
        options,
      )
    }
    await compile(
      [
        ...FLAGS,
        `-I${src}`,
        '-static',
        join(guest, 'c/compile.c'),
        ...OBJECTS.map((o) => join(src, `${o}.o`)),
        '-lm',
        '-o',
        join(src, 'compile'),
      ],
      options,
    )
    await publish(src, made)
    return made
  })
}

/** Through apt's own downloader: its proxies, its transports, and it compares the hash. */
async function fetchSource(to: string): Promise<void> {
  let reason = 'no archive has it'
  for (const { uri } of await archivesOf(await debianCodename())) {
    try {
      await run(
        '/usr/lib/apt/apt-helper',
        [
          '-o',
          'APT::Sandbox::User=root',
          'download-file',
          `${uri.replace(/\/$/, '')}/${QUICKJS.path}`,
          to,
          `SHA256:${QUICKJS.sha256}`,
        ],
        { timeout: 120_000 },
      )
      return
    } catch (error) {
      reason = reasonOf(error)
    }
  }
  throw new ZosError(`Fetch QuickJS: ${reason}; check the network and apt's sources`, {
    code: 'zinit-failed',
    kind: 'node',
  })
}
