import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { run } from '#sys'

/** An apt state of our own: nothing is installed and the machine's lists stay as they are. */
export type PrivateApt = { dir: string; options: string[] }

/** One archive of the machine's own configuration that carries its base suite. */
export type Archive = { uri: string; signedBy?: string }

/** The release this machine runs, e.g. "bookworm". */
export async function debianCodename(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  const name = /^VERSION_CODENAME=(.*)$/m.exec(text)?.[1]?.replaceAll('"', '')
  if (!/^ID=debian$/m.test(text) || (name !== 'bookworm' && name !== 'trixie')) {
    throw new ZosError(
      `Find the guest kernel: this machine is "${name ?? 'unknown'}", not Debian 12 or 13; the kernel comes from their archive`,
      { code: 'unknown-release' },
    )
  }
  return name
}

/** The stanza (deb822) or line (one-line style) NUMBER of a sources file says which key signs; undefined: apt's default. */
export function signedByOf(file: string, text: string, number: number): string | undefined {
  if (!file.endsWith('.sources')) {
    const line = text.split('\n')[number - 1] ?? ''
    return /\[[^\]]*signed-by=([^\s\]]+)/i.exec(line)?.[1]
  }
  const stanzas = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .split(/\n\s*\n/)
    .filter((stanza) => stanza.trim() !== '')
  // a key may stand in the file itself, on indented lines
  return /^Signed-By:(.*(?:\n[ \t].*)*)/im.exec(stanzas[number - 1] ?? '')?.[1]?.trim()
}

/** Archives apt is set up with that carry SUITE's `main`: where its sister suites (backports) are too. */
export async function archivesOf(suite: string): Promise<Archive[]> {
  const { stdout } = await run('apt-get', ['indextargets', 'Created-By: Packages'])
  const found = new Map<string, Archive>()
  for (const stanza of stdout.toString().split('\n\n')) {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? ''
    if (field('Release') !== suite || field('Component') !== 'main') continue
    const uri = field('Repo-URI')
    const [, file = '', number = ''] = /^(.*):(\d+)$/.exec(field('Sourcesentry')) ?? []
    const signedBy = signedByOf(file, await readFile(file, 'utf8').catch(() => ''), Number(number))
    if (!found.has(uri)) found.set(uri, signedBy === undefined ? { uri } : { uri, signedBy })
  }
  if (found.size === 0) {
    throw new ZosError(`Find the guest kernel: apt has no source with "${suite} main"; add Debian's archive to it`, {
      code: 'no-archive',
    })
  }
  return [...found.values()]
}

/** A private apt over SUITES of ARCHIVE below DIR, its lists fetched and verified by apt. TYPES: "deb" or "deb-src". */
export async function openApt(
  dir: string,
  archive: Archive,
  suites: string[],
  options: { types?: string; signal?: AbortSignal } = {},
): Promise<PrivateApt> {
  await mkdir(join(dir, 'state/lists/partial'), { recursive: true })
  await mkdir(join(dir, 'cache/archives/partial'), { recursive: true })
  const sources = join(dir, 'zos.sources')
  const lines = [
    `Types: ${options.types ?? 'deb'}`,
    `URIs: ${archive.uri}`,
    `Suites: ${suites.join(' ')}`,
    'Components: main',
  ]
  if (archive.signedBy !== undefined) lines.push(`Signed-By: ${archive.signedBy}`)
  await writeFile(sources, `${lines.join('\n')}\n`)
  const settings = [
    `Dir::State=${join(dir, 'state')}`,
    'Dir::State::status=/dev/null',
    `Dir::Cache=${join(dir, 'cache')}`,
    `Dir::Etc::sourcelist=${sources}`,
    'Dir::Etc::sourceparts=-',
    'Acquire::Retries=3',
    // the folder may lie below one that apt's own unprivileged user cannot enter
    'APT::Sandbox::User=root',
    'APT::Get::List-Cleanup=false',
  ]
  const apt = { dir, options: settings.flatMap((s) => ['-o', s]) }
  await run('apt-get', [...apt.options, '-q', 'update', '--error-on=any'], {
    timeout: 180_000,
    ...(options.signal ? { signal: options.signal } : {}),
  })
  return apt
}

/** The fields of the newest version of PACKAGE; undefined when the archive has none. */
export async function showPackage(apt: PrivateApt, name: string): Promise<Record<string, string> | undefined> {
  const { stdout } = await run('apt-cache', [...apt.options, '--no-all-versions', 'show', name]).catch((error) => {
    if (codeOf(error) === 'program-failed') return { stdout: Buffer.alloc(0) }
    throw error
  })
  const fields = [...stdout.toString().matchAll(/^([A-Za-z0-9-]+): (.*)$/gm)].map(([, k, v]) => [k!, v!])
  return fields.length ? Object.fromEntries(fields) : undefined
}

/** Downloads NAME=VERSION into DIR; apt checks it against the signed index. Returns its path. */
export async function downloadPackage(
  apt: PrivateApt,
  dir: string,
  facts: Record<string, string>,
  options: { onBytes?: (done: number, total: number) => void; signal?: AbortSignal } = {},
): Promise<string> {
  const total = Number(facts.Size)
  const sizeNow = async () => {
    let size = 0
    for (const name of await readdir(dir)) size += (await stat(join(dir, name)).catch(() => ({ size: 0 }))).size
    options.onBytes?.(size, total)
  }
  const timer = setInterval(() => void sizeNow().catch(() => {}), 500)
  try {
    await run('apt-get', [...apt.options, '-q', 'download', `${facts.Package}=${facts.Version}`], {
      cwd: dir,
      timeout: 1_800_000,
      ...(options.signal ? { signal: options.signal } : {}),
    })
  } finally {
    clearInterval(timer)
  }
  options.onBytes?.(total, total)
  const file = (await readdir(dir)).find((name) => name.endsWith('.deb'))
  if (!file) throw new ZosError(`Download "${facts.Package}": apt left no file`, { code: 'no-package', kind: 'node' })
  return join(dir, file)
}
